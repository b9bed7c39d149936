"""Cases of 04_optimizers."""

from __future__ import annotations

import math

import pytest

from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit
from tests.notebooks.cases.case import Case, Results

START = (-4.5, 1.2)


def descended(condition: float, lr: float, steps: int) -> float:
    """The ravine's loss after gradient descent, in closed form."""
    x, y = START[0] * (1 - lr) ** steps, START[1] * (1 - lr * condition) ** steps
    return (x**2 + condition * y**2) / 2


def best_descent(condition: float, steps: int) -> float:
    """With the best of all learning rates: no list of rates can be better."""
    limit = 2 / condition
    return min(descended(condition, limit * k / 5000, steps) for k in range(1, 5000))


def what_a_reader_is_told(results: Results) -> None:
    """Each answer that the notebook gives to its questions, and each claim beside a table."""
    assert results["walls_diverged"] is None, "0.018 is below 2/100"
    assert results["sgd_loss"] >= best_descent(100, 100)
    assert results["momentum_loss"] < results["sgd_loss"] / 100
    assert results["sgd_turned_loss"] == pytest.approx(results["sgd_loss"], rel=1e-6)
    assert results["adam_turned_loss"] > 100 * results["looked_inside_loss"]
    assert results["rmsprop_turned_loss"] == pytest.approx(results["sgd_loss"], rel=0.5)
    # Steps of about 0.1 from (-3, 2): 30 of them reach the middle, and 20 the bowl.
    assert 15 < results["plateau_arrival"] < 35
    assert results["plateau_sgd_loss"] > 0.99
    assert results["sgd_is_right"] is True
    assert results["momentum_is_right"] is False, "it is left to the reader"
    assert results["adam_at_0.01"] < results["momentum_at_0.01"] < results["sgd_at_0.01"]
    assert results["adam_at_0.01"] < results["sgd_at_0.01"] / 5
    assert results["adam_at_its_best"] > results["sgd_at_its_best"] / 1.5
    alone = fit(Recipe(task="digits", hidden=(32,), optimizer="adam", lr=0.01, steps=300))
    assert results["adam_at_0.01"] == pytest.approx(alone.summary()["val_loss"], rel=1e-2)


def a_learning_rate_beyond_the_limit_leaves_the_map(results: Results) -> None:
    """2/κ is 0.1: 0.11 multiplies y by -1.2 at each step."""
    highest = (5.5**2 + 20 * 2.6**2) / 2
    beyond = math.ceil(math.log(1000 * highest / (10 * 1.2**2)) / (2 * math.log(1.2)))
    assert results["walls_diverged"] == pytest.approx(beyond, abs=2)
    assert results["sgd_loss"] >= best_descent(20, 60)
    assert results["looked_inside"] == "rmsprop"
    assert results["looked_inside_loss"] < results["sgd_loss"]


FIGURES = 21
WILD = {"surface": "himmelblau", "condition": 20, "optimizer": "rmsprop", "lr": 0.11}
CASES = [
    Case("04", {}, FIGURES, what_a_reader_is_told),
    Case(
        "04",
        {**WILD, "steps": 60, "race_steps": 40, "seed": 1},
        FIGURES,
        a_learning_rate_beyond_the_limit_leaves_the_map,
    ),
]
