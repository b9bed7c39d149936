"""Cases of 00_start_here, 01_what_weights_are and 06_weights_converging."""

from __future__ import annotations

import re

import numpy as np
import pytest

from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit
from tests.notebooks.cases.case import Case, Results


def moons_are_learnt(results: Results) -> None:
    """The very run that the library makes from the recipe that the notebook describes."""
    assert numbers(results) == summary(seed=0)
    assert results["history"].startswith("600 steps, loss 0.0")
    assert results["val_accuracy"] > 0.8


def another_seed_is_another_run(results: Results) -> None:
    assert numbers(results) == summary(seed=3) != summary(seed=0)


def numbers(results: Results) -> Results:
    return {name: value for name, value in results.items() if name != "history"}


def summary(seed: int) -> Results:
    return fit(Recipe(task="moons", lr=0.003, steps=600, seed=seed)).summary()


def points(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The notebook's forty points, drawn again."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, 40)
    return x, 1.5 * x - 0.5 + rng.normal(0, noise, 40)


def descent_reaches_least_squares(results: Results) -> None:
    x, y = points(noise=0.2, seed=0)
    design = np.stack([x, np.ones_like(x)], axis=1)
    best, squares, *_ = np.linalg.lstsq(design, y)
    assert results["loss_best"] == pytest.approx(squares[0] / 40)
    assert results["loss_downhill"] == pytest.approx(squares[0] / 40, rel=1e-3)
    found = (results["weight_downhill"], results["bias_downhill"])
    assert found == pytest.approx(tuple(best), abs=2e-2)
    assert results["loss_by_hand"] == pytest.approx(np.mean(y**2)), "both knobs stand at 0"
    assert results["xor_accuracy"] > 0.85
    # Linear(2, 4) and Linear(4, 2); their biases, two scales and shifts of 4, running mean
    # and variance of 4 and a counter; for each learned number two of Adam's, and its steps.
    assert results["weights"] == 2 * 4 + 4 * 2
    assert results["not_weights"] == (4 + 2) + (4 + 4) + (4 + 4 + 1) + 2 * (16 + 6 + 8) + 6


def without_noise_the_line_is_found_exactly(results: Results) -> None:
    assert results["loss_best"] < 1e-20
    assert results["loss_by_hand"] < 1e-20, "the knobs stand on the line"
    assert results["loss_downhill"] < 1e-20, "and nothing pulls them away"
    assert results["weight_downhill"] == pytest.approx(1.5)
    assert results["bias_downhill"] == pytest.approx(-0.5)


def he_init_learns_digits(results: Results) -> None:
    assert results["digits_accuracy"] > 0.95
    assert results["digits_units_identical"] is False
    assert results["digits_weights_spread_to"] > results["digits_weights_spread_from"]
    # He et al. 2015: a std of sqrt(2 / fan_in), here of 64 pixels.
    assert results["digits_weights_spread_from"] == pytest.approx(np.sqrt(2 / 64), rel=0.05)
    assert results["finding"] is None


def equal_units_stay_identical(results: Results) -> None:
    assert results["digits_units_identical"] is True
    assert results["digits_accuracy"] < 0.6, "32 neurons do the work of one"
    assert results["finding"] is None


def a_wild_learning_rate_is_found_out(results: Results) -> None:
    assert re.match(r"Training ended at step \d+: the loss became", results["finding"])


DIGITS = {"lr": 0.01, "steps": 60, "digits_steps": 400}
WILD = {"optimizer": "sgd", "lr": 10.0, "activation": "leaky_relu", "digits_steps": 60}
ON_THE_LINE = {"noise": 0.0, "weight": 1.5, "bias": -0.5}
CASES = [
    Case("00", {"steps": 600}, 3, moons_are_learnt),
    Case("00", {"steps": 600, "seed": 3}, 3, another_seed_is_another_run),
    Case("01", {}, 6, descent_reaches_least_squares),
    Case("01", ON_THE_LINE, 6, without_noise_the_line_is_found_exactly),
    Case("06", DIGITS, 10, he_init_learns_digits),
    Case("06", {**DIGITS, "init": "all_equal"}, 10, equal_units_stay_identical),
    Case("06", {**WILD, "steps": 60}, 10, a_wild_learning_rate_is_found_out),
]
