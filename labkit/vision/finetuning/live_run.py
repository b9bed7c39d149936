"""One fine-tuning run while it runs: what it has reported so far, and a way to stop it."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from labkit.core.errors import LabError
from labkit.vision.finetuning.diagnosis import lr_too_high
from labkit.vision.finetuning.spec import FineTune

if TYPE_CHECKING:
    from labkit.training.findings import Finding
    from labkit.vision.finetuning.records import EpochRecord, FineTuned, StepRecord, Used


class LiveRun:
    """A fine-tuning run that one thread fills and any other may read or stop.

    Args:
        spec: what to do.

    Attributes:
        spec: what to do.
        steps, epochs: the records so far, in order.
        used: the settings that are really used, as soon as the trainer knows them.
        result: what the run left, once it is over.
        error: what ended it instead.
        done: set when the run is over, whichever way it ended.
        news: set whenever there is something new to show; the reader clears it.
    """

    def __init__(self, spec: FineTune) -> None:
        self.spec = spec
        self.steps: list[StepRecord] = []
        self.epochs: list[EpochRecord] = []
        self.used: Used | None = None
        self.result: FineTuned | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.news = threading.Event()
        self._stop = threading.Event()
        self._first: tuple[float, int] | None = None

    def start(self, executor: Executor) -> LiveRun:
        """Run on `executor`; returns at once where that has a thread of its own."""
        executor.submit(self.run)
        return self

    def run(self) -> None:
        """Run to the end or until `stop`, in this thread. An error is kept, not raised."""
        from labkit.vision.finetuning.run import finetune

        try:
            self.result = finetune(
                self.spec,
                stop=self._stop,
                on_start=self._on_start,
                on_step=self._on_step,
                on_epoch=self._on_epoch,
            )
            self.used = self.result.used
        except BaseException as error:
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.done.set()
            self.news.set()

    def stop(self) -> None:
        """End the run after the current step; the best weights so far are kept."""
        self._stop.set()
        self.news.set()

    def outcome(self) -> FineTuned:
        """What the run left.

        Raises:
            LabError: it is still running.
            BaseException: the error that ended it.
        """
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise LabError("the fine-tuning is still running: stop it, or wait until it is done")
        return self.result

    def _on_start(self, used: Used) -> None:
        self.used = used
        self.news.set()

    def _on_step(self, record: StepRecord) -> None:
        if self._first is None:  # a resumed run has steps of earlier sessions
            self._first = time.perf_counter(), record.step
        self.steps.append(record)
        self.news.set()

    def _on_epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)
        self.news.set()

    @property
    def over(self) -> bool:
        """Whether it has ended, whichever way."""
        return self.done.is_set()

    @property
    def stopping(self) -> bool:
        """Whether Stop was pressed and the run has not ended yet."""
        return self._stop.is_set() and not self.over

    @property
    def state(self) -> str:
        """One word: what it is doing, or how it ended."""
        if not self.over:
            if self.stopping:
                return "stopping"
            return "running" if self.steps else "preparing"
        if self.result is None:
            return "failed"
        if self.result.stopped:
            return "stopped"
        return "finished" if self.result.finished else "diverged"

    @property
    def finding(self) -> Finding | None:
        """What went wrong; of a run that goes on, what is going wrong so far."""
        if self.result is not None:
            return self.result.finding
        return lr_too_high(self.spec, self.steps[0].loss, self.epochs) if self.steps else None

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has; 1 before the first."""
        return max(1, self.steps[-1].steps // self.spec.epochs) if self.steps else 1

    @property
    def best(self) -> EpochRecord | None:
        """The epoch whose weights are kept, so far."""
        return next((record for record in reversed(self.epochs) if record.best), None)

    @property
    def seconds_left(self) -> float:
        """How long it will still run, judged by the steps so far; NaN before the third."""
        if self._first is None or len(self.steps) < 3:
            return math.nan
        began, first = self._first
        last = self.steps[-1]
        each = (time.perf_counter() - began) / (last.step - first)
        return each * (last.steps - last.step)
