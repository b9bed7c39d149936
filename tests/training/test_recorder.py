from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step
from labkit.training.statistics import STATISTICS

LAYOUT = Layout(("w",), ((1000,),))
TABLE = np.zeros((1, len(STATISTICS)), np.float32)


def test_statistics_that_are_computed_elsewhere_are_kept_within_the_memory():
    history = History(LAYOUT, snapshot_bytes=4 * 1000 * 8)
    recorder = Recorder(history)
    for step in range(0, 300, 3):
        recorder.record_numbers(step, float(step), 0.1)
        recorder.record_statistics(step, TABLE + step, np.full(1000, step, np.float32))
    steps, flat = history.snapshots("w")
    assert len(steps) <= 8
    assert len(set(np.diff(steps))) == 1, "evenly spaced"
    np.testing.assert_array_equal(flat[:, 0], steps)
    numbers, norms = history.statistic("norm", "w")
    assert numbers.tolist() == norms.tolist() == list(range(0, 300, 3))
    assert history.flat()[0] == 297


def test_evaluations_leave_out_what_was_not_measured():
    history = History(LAYOUT)
    Recorder(history).record_evaluation(7, 2.5, val_accuracy=0.75)
    assert history.curve("train_loss")[1].tolist() == [2.5]
    assert history.curve("val_accuracy")[1].tolist() == [0.75]
    assert math.isnan(history.curve("val_loss")[1][0])


@pytest.mark.parametrize("same", [True, False])
def test_numbers_without_weights_cannot_be_followed_by_steps_with_all(same):
    history = History(LAYOUT)
    recorder = Recorder(history)
    recorder.record_numbers(0, 1.0, 0.1)
    with pytest.raises(ValueError, match="thinned"):
        (recorder if same else Recorder(history)).record(
            Step(1, 1.0, 0.1), np.zeros(1000), np.zeros(1000)
        )
    assert len(history) == 1, "nothing was entered"


def test_another_recorder_continues_a_history():
    history, rows = History(LAYOUT), np.random.default_rng(0).normal(size=(20, 1000))
    for step, row in enumerate(rows.astype(np.float32)):
        Recorder(history).record(Step(step, 1.0, 0.1), row, row)
    np.testing.assert_array_equal(history.snapshots()[1], rows.astype(np.float32))
    expected = np.linalg.norm(rows - rows[0], axis=1)
    np.testing.assert_allclose(history.statistic("distance", "w")[1], expected, rtol=1e-5)
