"""When a run is evaluated, and when patience ends it, against plain rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.training.evaluation import Patience, evaluation_interval


@pytest.mark.parametrize("steps", [1, 9, 10, 99, 400, 1999, 2000, 2050, 10_000, 123_456])
def test_a_run_is_evaluated_ten_to_fifty_times(steps):
    interval = evaluation_interval(steps)
    if steps >= 10:
        assert 10 <= steps / interval < 51
    else:
        assert interval == 1
    if steps >= 400:
        assert interval >= 40, "an evaluation costs about as much as a step or two"


def end_by_hand(losses: list[float], patience: int) -> int | None:
    """The first evaluation that is `patience` later than the lowest loss until then."""
    for number in range(len(losses)):
        seen = np.nan_to_num(losses[: number + 1], nan=np.inf)
        lowest = int(np.argmin(seen)) if np.isfinite(seen).any() else -1
        if patience and number - lowest >= patience:
            return number
    return None


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
@pytest.mark.parametrize(
    "losses",
    [
        [3.0, 2.0, 1.0, 0.5],
        [3.0, 2.0, 2.0, 2.0, 1.0],  # an equal loss is no improvement
        [1.0, 2.0, 3.0, 0.5, 4.0, 5.0, 6.0, 7.0, 8.0],
        [1.0, math.nan, math.nan, 0.5],
        list(np.random.default_rng(0).normal(size=40)),
    ],
    ids=["falling", "flat", "rising", "NaN", "noise"],
)
def test_patience_ends_a_run_where_the_loss_has_not_improved_for_long(losses, patience):
    rule = Patience(patience)
    ended = next((n for n, loss in enumerate(losses) if rule.over(10 * n, loss)), None)
    assert ended == end_by_hand(losses, patience)
    seen = losses if ended is None else losses[: ended + 1]
    assert rule.best_step == 10 * int(np.nanargmin(seen))
    assert rule.text == f"stopped early: best at step {rule.best_step}"
