"""Curves that are thinned keep what a reader looks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

import labkit
from labkit.training.curves import MOST, curves, thin


@pytest.mark.parametrize("count", [1, 2, 199, 200, 201, 5000])
@pytest.mark.parametrize("diverges", [False, True])
def test_a_thinned_curve_keeps_its_ends_and_its_lowest_point(count: int, diverges: bool):
    random = np.random.default_rng(count)
    x, y = np.arange(count) * 10, random.normal(size=count)
    if diverges:
        y[count // 2 :] = math.nan
    steps, values = thin(x, y)
    assert min(count, MOST - 2) <= len(steps) == len(values) <= min(count, MOST)
    assert (steps[0], steps[-1]) == (0, 10 * (count - 1))
    assert steps == sorted(set(steps))
    for step, value in zip(steps, values, strict=True):
        expected = y[step // 10]
        assert value == pytest.approx(expected, rel=1e-5) if math.isfinite(expected) else not value
    finite = np.flatnonzero(np.isfinite(y))
    if len(finite):
        assert 10 * int(finite[y[finite].argmin()]) in steps, "the lowest point is lost"
        assert 10 * int(finite[-1]) in steps, "the end of what is finite is lost"
    gaps = np.diff(steps)
    assert count <= MOST or gaps.max() <= 2 * 10 * count / MOST, "a gap"


def test_thinned_numbers_are_short_and_json():
    steps, values = thin([0, 1, 2, 3], [1 / 3, math.inf, None, 123456789.25])
    assert steps == [0, 1, 2, 3]
    assert [type(step) for step in steps] == [int] * 4
    assert values == [0.333333, None, None, 123456789.25]


def test_the_curves_of_a_history():
    history = labkit.fit(labkit.Recipe(task="moons", hidden=(4,), steps=30))
    found = curves(history)
    assert list(found) == ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    steps, losses = history.curve("val_loss")
    assert found["val_loss"]["x"] == steps.tolist()
    assert found["val_loss"]["y"] == pytest.approx(losses.tolist(), rel=1e-5)
    line = labkit.fit(labkit.Recipe(task="regression", hidden=(), steps=30))
    assert list(curves(line)) == ["train_loss", "val_loss"], "regression has no accuracy"
