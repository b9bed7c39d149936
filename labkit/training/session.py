"""Controlling a training run: play, pause, step, stop, rewind."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Literal

import numpy as np

from labkit.core.executors import ThreadExecutor
from labkit.core.parameters import parameters
from labkit.core.threads import one_thread
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.training.trainer import Trainer

State = Literal["ready", "running", "paused", "stopped", "finished", "diverged", "failed"]

LIVE_FIELDS = frozenset(name for name, p in parameters(Recipe).items() if p.live)


class Player(ABC):
    """Something that advances step by step, on another thread, until it is paused.

    It pauses between two steps, so weights are never seen half-updated. All methods may
    be called from any thread. An exception in a step ends the loop: the state is then
    `failed` and `error` holds the exception, until the run continues or starts again.

    Args:
        executor: what runs the steps; a thread of its own by default. A synchronous one makes
            `play` return when the run is over.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor or ThreadExecutor("labkit-train")
        self._lock = threading.RLock()
        self._halt = threading.Event()
        self._work: Future[None] | None = None
        self._stopped = False
        self._speed = 0.0
        self._error: Exception | None = None

    @property
    @abstractmethod
    def steps_done(self) -> int:
        """How many steps have been made."""

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether there is nothing left to do."""

    @abstractmethod
    def _advance(self) -> None:
        """Make one step."""

    @abstractmethod
    def _begin(self) -> None:
        """Set up the state before the first step."""

    @property
    def running(self) -> bool:
        """Whether it is making steps now."""
        work = self._work
        return work is not None and not work.done()

    @property
    def error(self) -> Exception | None:
        """The exception of the last step; None where it succeeded."""
        return self._error

    @property
    def state(self) -> State:
        """What it is doing; `failed` where a step raised an exception (see `error`)."""
        if self.running:
            return "running"
        if self._error is not None:
            return "failed"
        if self.over:
            return "finished"
        if self._stopped:
            return "stopped"
        return "paused" if self.steps_done else "ready"

    @property
    def speed(self) -> float:
        """Recent steps per second."""
        return self._speed

    def play(self) -> None:
        """Continue to the end. After `stop` it starts from the beginning."""
        with self._lock:
            if self.running or self.over:
                return
            if self._stopped:
                self.rewind()
            self._error = None
            self._halt.clear()
            self._work = self._executor.submit(self._loop)

    def _loop(self) -> None:
        done, since = self.steps_done, time.perf_counter()
        with one_thread():
            while not self.over and not self._halt.is_set():
                self._try_to_advance()
                elapsed = time.perf_counter() - since
                if elapsed > 0.25:
                    self._speed = (self.steps_done - done) / elapsed
                    done, since = self.steps_done, time.perf_counter()
        if not self._speed:
            self._speed = (self.steps_done - done) / max(time.perf_counter() - since, 1e-9)

    def _try_to_advance(self) -> None:
        try:
            self._advance()
        except Exception as error:  # a KeyboardInterrupt is a pause, no failure
            self._error = error
            raise

    def pause(self) -> None:
        """Stop between two steps; `play` continues from there.

        It does not raise exceptions of training: they are in `error`.
        """
        self._halt.set()  # before the lock too: a synchronous `play` holds it
        with self._lock:
            self._halt.set()
            with contextlib.suppress(Exception):
                self.wait()

    def stop(self) -> None:
        """End the run where it is; what it recorded stays."""
        with self._lock:
            self.pause()
            self._stopped = True

    def step(self, count: int = 1) -> None:
        """Make single steps, on the caller's thread. Raises what a step raises."""
        with self._lock, one_thread():
            self.pause()
            self._error = None
            for _ in range(count):
                if self.over:
                    return
                self._try_to_advance()

    def rewind(self) -> None:
        """Return to the same initial weights, with an empty history."""
        self._restart(self._begin)

    def _restart(self, begin: Callable[[], None]) -> None:
        """Start again; where `begin` fails, the old state stays, paused."""
        with self._lock, one_thread():
            self.pause()
            begin()
            self._error = None
            self._stopped = False
            self._speed = 0.0

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is over or paused. Raises what training raised, once."""
        work = self._work
        if work is None:
            return
        try:
            work.result(timeout)
        finally:
            if work.done() and self._work is work:
                self._work = None

    def run(self) -> None:
        """Play to the end.

        An interrupt (Ctrl-C, or Jupyter's stop button) pauses between two steps and is
        raised again; `play` resumes, `rewind` starts over.
        """
        self.play()
        try:
            self.wait()
        except KeyboardInterrupt:
            self.pause()
            raise


class Session(Player):
    """One recipe in training.

    Args:
        recipe: what to train.
        executor: see `Player`.
        initial: flat weights to start from instead of the recipe's init.

    Attributes:
        trainer: the network with its optimizer, recipe and history; a new one replaces
            it when the run starts again.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        executor: Executor | None = None,
        initial: np.ndarray | None = None,
    ) -> None:
        super().__init__(executor)
        self._restart(lambda: self._start(recipe, initial))

    def _begin(self) -> None:
        self._start(self.recipe, self._given)

    def _start(self, recipe: Recipe, given: np.ndarray | None) -> None:
        self.trainer = Trainer(recipe, initial=given)
        self._given = given

    def _advance(self) -> None:
        self.trainer.advance()

    @property
    def steps_done(self) -> int:
        """How many updates have been made."""
        return self.trainer.step

    @property
    def over(self) -> bool:
        """Whether the recipe's steps are done, or the loss is no longer finite."""
        return self.trainer.finished

    @property
    def state(self) -> State:
        """What it is doing; `diverged` where the loss is no longer finite."""
        failed = self.error is not None
        return "diverged" if self.finding is not None and not failed else super().state

    @property
    def recipe(self) -> Recipe:
        """The recipe in force, live changes included."""
        return self.trainer.recipe

    @property
    def history(self) -> History:
        """What was recorded since the beginning."""
        return self.trainer.history

    @property
    def finding(self) -> Finding | None:
        """Why the run ended early, if it did."""
        return self.trainer.finding

    @property
    def initial(self) -> np.ndarray:
        """The weights that rewind returns to, as one flat vector."""
        return self.trainer.initial

    def run(self) -> History:  # type: ignore[override]
        """Play to the end and give what was recorded; interrupts pause, as in `Player`."""
        super().run()
        return self.history

    def update(self, recipe: Recipe) -> bool:
        """Change to another recipe.

        Changes of live fields (lr, steps) act on the run in progress, which continues, and
        leave a mark in its history; any other change starts a new run, paused.

        Returns:
            Whether a new run was started.

        Raises:
            RecipeError: it cannot start (no such device); the old run stays.
        """
        with self._lock:
            old = self.recipe
            changed = {
                name
                for name in type(recipe).model_fields
                if getattr(old, name) != getattr(recipe, name)
            }
            if not changed <= LIVE_FIELDS:
                self._restart(lambda: self._start(recipe, None))
                return True
            running = self.running
            self.pause()
            self.trainer.adjust(recipe)
            if self.trainer.step:
                for name in sorted(changed):
                    before, after = getattr(old, name), getattr(recipe, name)
                    self.trainer.recorder.mark(f"{name} {before:.6g} → {after:.6g}")
            if running:
                self.play()
            return False
