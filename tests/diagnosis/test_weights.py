from __future__ import annotations

import numpy as np
import pytest

from labkit.training.history import History
from labkit.training.recorder import Recorder, Step
from tests.diagnosis.runs import FALLING, LAYOUT, NAMES, START, kinds, record, the


def test_weights_that_never_moved():
    zeros = record(FALLING, start=np.zeros(LAYOUT.total), gradient=0.0)
    assert kinds(zeros) == ["frozen_weights"], "equal units and the rest follow from it"
    assert the("frozen_weights", zeros).evidence["layers"] == ["layer1", "output"]
    assert "all zero" in the("frozen_weights", zeros).message
    still = record(FALLING, growth=0.0, gradient=1e-9)
    assert kinds(still) == ["frozen_weights"]
    assert "lost in rounding" in the("frozen_weights", still).message
    assert kinds(record(FALLING[:5], growth=0.0)) == [], "too early to say"


@pytest.mark.parametrize(("equal", "found"), [((0, 1), True), ((0, 1, 2), True), ((), False)])
def test_units_with_equal_weights(equal, found):
    weights = LAYOUT.split(START.copy())
    for unit in equal:
        weights["layer1.weight"][unit] = [0.3, -0.2]
        weights["layer1.bias"][unit] = 0.1
    start = np.concatenate([weights[name].ravel() for name in NAMES])
    history = record(FALLING, start=start)
    assert kinds(history) == (["symmetric_units"] if found else [])
    if found:
        evidence = the("symmetric_units", history).evidence
        assert evidence == {
            "layer": "layer1",
            "units": 3,
            "copies": len(equal),
            "different": 4 - len(equal),
        }


def test_units_that_began_equal_and_parted_are_not_symmetric():
    history, weights = History(LAYOUT), LAYOUT.split(START.copy())
    weights["layer1.weight"][:], weights["layer1.bias"][:] = 0.5, 0.0
    recorder = Recorder(history)
    for step in range(20):
        flat = np.concatenate([weights[name].ravel() for name in NAMES])
        recorder.record(Step(step, 1.0, 0.1), flat, np.ones(LAYOUT.total))
        weights["layer1.weight"] *= [[1.01], [0.99], [1.02]]
    assert kinds(history) == []


def test_equal_weights_with_unequal_biases_are_other_units():
    weights = LAYOUT.split(START.copy())
    weights["layer1.weight"][:] = 0.5
    start = np.concatenate([weights[name].ravel() for name in NAMES])
    assert kinds(record(FALLING, start=start)) == []
