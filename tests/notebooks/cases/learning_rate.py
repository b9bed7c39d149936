"""Cases of 05_learning_rate."""

from __future__ import annotations

import pytest

from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit
from tests.notebooks.cases.case import Case, Results

RATES = [0.0003, 0.01, 0.3]


def digits_like_the_suggested_rate(results: Results) -> None:
    recipe = Recipe(
        task="digits", hidden=(32,), activation="relu", steps=300, lr=results["suggested_lr"]
    )
    assert results["result_at_suggestion"] == fit(recipe).summary()["val_accuracy"]
    assert results["result_at_suggestion"] > 0.94
    assert 1 / 4 < results["suggested_lr"] / results["best_lr_of_sweep"] < 4
    assert results["share_diverged"] == 0
    # Adam's first step is the rate itself for every weight that has a gradient, and He's
    # weights have a size of sqrt(2 / 64): pixels that are always blank only make it less.
    good, too_high = results["first_step_ratio_good"], results["first_step_ratio_too_high"]
    assert too_high == pytest.approx(good * RATES[2] / RATES[1], rel=1e-3)
    assert 0.5 < good / (RATES[1] / (2 / 64) ** 0.5) < 1
    # The prose says that warm-up rescues Adam, and that momentum had nothing to be cured of.
    assert results["warmup_adam_to"] > results["warmup_adam_from"] + 0.1
    gained = results["warmup_momentum_to"] - results["warmup_momentum_from"]
    assert gained == pytest.approx(0, abs=0.06)
    assert results["best_schedule"] in ("cosine", "one_cycle")
    assert results["finding"] is None


def some_of_a_regression_diverge(results: Results) -> None:
    """A linear unit's steps grow without end above twice the inverse of its curvature."""
    assert 0 < results["share_diverged"] < 1
    assert results["best_lr_of_sweep"] < 1
    assert results["suggested_lr"] < 1
    assert results["result_at_suggestion"] < 0.2, "the noise alone leaves 0.01, a mean line 0.25"


def zeros_have_no_good_rate(results: Results) -> None:
    assert results["suggested_lr"] is None
    assert "never fell" in results["suggestion_because"]
    assert results["best_row_of_sweep"] != "zeros"
    assert results["result_at_suggestion"] < 0.3, "it guesses"


SMALL = {"steps": 300, "repeats": 3, "epochs": 1, "batch_sizes": [16, 64], "sweep_steps": 200}
FEW = {"sweep_inits": ["kaiming_normal", "zeros"], "sweep_lrs": [0.001, 0.01, 0.03, 0.1]}
CURVE = {
    "task": "regression",
    "optimizer": "sgd",
    "activation": "tanh",
    "range_steps": 500,
    "sweep_lrs": [0.01, 0.1, 10.0],
    "deep_hidden": [16, 16],
}
CASES = [
    Case("05", {**SMALL, **FEW, "steps": 300}, 12, digits_like_the_suggested_rate),
    Case("05", {**SMALL, **FEW, **CURVE}, 12, some_of_a_regression_diverge),
    Case(
        "05",
        {**SMALL, **FEW, "init": "zeros", "deep_hidden": [16, 16], "steps": 60},
        12,
        zeros_have_no_good_rate,
    ),
]
