"""Slow work behind quick controls: one request at a time; the newest replaces what waits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
State = Literal["ready", "running", "stopping", "stopped", "failed", "finished"]

NOTICE_S = 0.15  # between two notices of progress


class Stopped(BaseException):
    """Somebody pressed Stop. Raised inside the work, where it asks how far it may go."""


class Job(Generic[T]):
    """Work away from the widgets' thread, requested by controls.

    A slider moves faster than a network answers: requests that come meanwhile replace each
    other, and long work can see that it is `overtaken` and end early.

    Args:
        executor: where the work runs.
        work: called with a request.
        failed: called with whatever the work raised; the next request is worked on all the same.
        changed: called when the work begins, progresses and ends.

    Attributes:
        error: what the last request ended with, or None.
        done, total: how far the work is: what `progress` was called with.
    """

    def __init__(
        self,
        executor: Executor,
        work: Callable[[T], object],
        *,
        failed: Callable[[BaseException], object],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._executor, self._work, self._failed, self._changed = executor, work, failed, changed
        self._lock = threading.Lock()
        self._waiting: list[T] = []
        self._idle = threading.Event()
        self._idle.set()
        self._state: State = "ready"
        self.done = self.total = 0
        self._began = self._noticed = 0.0
        self.error: BaseException | None = None

    @property
    def running(self) -> bool:
        """Whether something is being worked on."""
        return not self._idle.is_set()

    @property
    def state(self) -> State:
        """What it is doing, or how the last request ended."""
        return self._state

    @property
    def overtaken(self) -> bool:
        """Whether something else has been requested, or Stop pressed."""
        return bool(self._waiting) or self._state == "stopping"

    @property
    def share(self) -> float:
        """How much of the request is done, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def seconds(self) -> float:
        """How long the request has been worked on."""
        return time.perf_counter() - self._began

    @property
    def seconds_left(self) -> float:
        """How long it will take at this speed; NaN where nothing is known yet."""
        return self.seconds * (1 / self.share - 1) if self.share else math.nan

    def request(self, what: T) -> None:
        """Have this done next, instead of what waits."""
        with self._lock:
            self._waiting = [what]
            if self.running:
                return
            self._idle.clear()
            self._state, self.error = "running", None
        self._changed()
        self._executor.submit(self._run)

    def stop(self) -> None:
        """Drop what waits, and have the work end where it next calls `progress`."""
        with self._lock:
            self._waiting = []
            if self.running:
                self._state = "stopping"
        self._changed()

    def progress(self, done: int, total: int) -> None:
        """Note how far the work is. Called by the work itself, as often as it likes.

        Raises:
            Stopped: somebody pressed Stop.
        """
        self.done, self.total = done, total
        if self._state == "stopping":
            raise Stopped
        if time.perf_counter() - self._noticed > NOTICE_S:
            self._noticed = time.perf_counter()
            self._changed()

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is being worked on: True, or False after `timeout` seconds."""
        return self._idle.wait(timeout)

    def _run(self) -> None:
        ended: State = "finished"
        while True:
            with self._lock:
                if not self._waiting:
                    self._state = ended
                    self._idle.set()
                    break
                what = self._waiting.pop()
                self._state, self.error = "running", None
                self.done = self.total = 0
                self._began = self._noticed = time.perf_counter()
            ended = self._do(what)
        self._changed()

    def _do(self, what: T) -> State:
        try:
            self._work(what)
        except Stopped:
            return "stopped"
        except BaseException as error:
            self.error = error
            self._failed(error)
            if isinstance(error, Exception):
                return "failed"
            with self._lock:
                self._state = "failed"
                self._idle.set()
            raise
        return "finished"
