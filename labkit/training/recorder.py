"""The recorder: what a training loop calls to fill a History."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from labkit.training.history import History, Mark

if TYPE_CHECKING:
    import numpy as np


class Step(NamedTuple):
    """What one training step reports. Step 0 is the network before training.

    Attributes:
        step: how many updates have been made.
        loss: mean loss of the step's batch, before its update.
        lr: the learning rate that was used.
        train_loss, train_accuracy, val_loss, val_accuracy: of whole splits, after the
            update; only now and then (None in between, accuracy None for regression).
    """

    step: int
    loss: float
    lr: float
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None


class Recorder:
    """Writes a History, from one thread. A history has one recorder at a time.

    Small networks record every step with all weights (`record`). Large ones record every
    step's numbers (`record_numbers`), and now and then statistics that they have computed
    themselves (`record_statistics`).

    Args:
        history: what is written; one that holds something already is continued.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._recording = history.recording
        self._complete = self._recording.complete

    def record(self, step: Step, weights: np.ndarray, gradients: np.ndarray) -> None:
        """Enter a step; its statistics are computed later.

        Args:
            step: its numbers.
            weights: all of them as one flat vector, after the step's update.
            gradients: likewise, before the update; zeros for step 0. Both are copied.

        Raises:
            ValueError: the history lacks the statistics of earlier steps.
        """
        if not self._complete:
            raise ValueError("this history is thinned: it cannot be continued")
        evaluation = None if step.val_loss is None else _evaluation(step.step, *step[3:])
        self._recording.add_step(step[:3], evaluation, weights, gradients)

    def record_numbers(self, step: int, loss: float, lr: float) -> None:
        """Enter a step's loss and learning rate, without its weights."""
        self._complete = False
        self._recording.numbers.append((step, loss, lr))

    def record_evaluation(
        self,
        step: int,
        train_loss: float | None = None,
        train_accuracy: float | None = None,
        val_loss: float | None = None,
        val_accuracy: float | None = None,
    ) -> None:
        """Enter what was measured on whole splits after a step; None where it was not."""
        self._recording.evaluations.append(
            _evaluation(step, train_loss, train_accuracy, val_loss, val_accuracy)
        )

    def record_statistics(self, step: int, table: np.ndarray, weights: np.ndarray) -> None:
        """Enter statistics that are computed already.

        Args:
            step: of which they are.
            table: STATISTICS of each tensor, `(tensors, 8)`.
            weights: of all tensors, `(total,)`; not copied, so the caller must not change it.
        """
        self._recording.add_statistics(step, table, weights)

    def mark(self, text: str) -> None:
        """Note something that happened now."""
        self.history.marks.append(Mark(self.history.last_step, text))


def _evaluation(step: int, *values: float | None) -> list[float]:
    return [step, *(math.nan if value is None else value for value in values)]
