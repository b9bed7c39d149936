"""Slow work behind quick controls: while one request is worked on, only the latest waits."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

from labkit.core.errors import LabError

T = TypeVar("T")


class Latest(Generic[T]):
    """Requests, worked on one at a time away from the widgets' thread.

    A slider moves faster than a network answers: what was asked between is never begun, and
    long work can see that it is `overtaken` and end early.

    Args:
        executor: where the work runs.
        work: called with a request.
        say: told what an error of the work says; one that is no `LabError` ends the work, too.
    """

    def __init__(
        self, executor: Executor, work: Callable[[T], None], say: Callable[[str], None]
    ) -> None:
        self._executor, self._do, self._say = executor, work, say
        self._lock = threading.Lock()
        self._waiting: list[T] = []
        self._working = False

    @property
    def overtaken(self) -> bool:
        """Whether something else has been asked for meanwhile."""
        return bool(self._waiting)

    def ask(self, what: T) -> None:
        """Have this done next, instead of what waits."""
        with self._lock:
            self._waiting = [what]
            if self._working:
                return
            self._working = True
        self._executor.submit(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return
                what = self._waiting.pop()
            try:
                self._do(what)
            except LabError as error:
                self._say(str(error))
            except BaseException as error:
                with self._lock:
                    self._working = False
                self._say(f"{type(error).__name__}: {error}")
                raise


def alert(text: str) -> str:
    """HTML of what went wrong; empty where nothing did."""
    if not text:
        return ""
    return (
        "<div role='alert' style='color:var(--jp-error-color1,#b00);line-height:1.3'>"
        f"{html.escape(text)}</div>"
    )
