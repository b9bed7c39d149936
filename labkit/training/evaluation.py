"""When a run is evaluated, on how many samples, and when its evaluations end it."""

from __future__ import annotations

import math

EVALUATION_SAMPLES = 500  # of each split at most, except at the end of a run


def evaluation_interval(steps: int) -> int:
    """Steps between evaluations of the splits: 10 to 50 times a run, every 40th or less often.

    One evaluation costs about as much as a step or two.
    """
    return max(1, min(steps // 10, max(40, steps // 50)))


class Patience:
    """Early stopping: whether the validation loss has not improved for some evaluations.

    The weights to keep are those of the best evaluation, not the last ones. Prechelt
    (1998), "Early Stopping - But When?", compares this kind of rule with others.

    Args:
        evaluations: how many without a new lowest loss end a run; 0 never ends one.

    Attributes:
        best_step: the step of the lowest loss so far.
    """

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self.best_step = 0
        self._best = math.inf
        self._waited = 0

    def over(self, step: int, val_loss: float) -> bool:
        """Enter an evaluation, and return whether the run has to end."""
        if val_loss < self._best:
            self._best, self.best_step, self._waited = val_loss, step, 0
        else:
            self._waited += 1
        return 0 < self.evaluations <= self._waited

    @property
    def text(self) -> str:
        """The mark that a history gets where a run ends early."""
        return f"stopped early: best at step {self.best_step}"
