from __future__ import annotations

import numpy as np
import pytest

from labkit.training import recording as module
from labkit.training.layout import Layout
from labkit.training.recording import Chunks, Recording, Snapshots, Table

ROWS = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)


@pytest.mark.parametrize("capacity", [1, 7, 64, 1000])
def test_a_table_grows_by_any_way_of_adding(capacity):
    table = Table((5,), capacity=capacity)
    for row in ROWS[:90]:
        table.append(row)
    table.extend(ROWS[90:250])
    table.grow(50)[:] = ROWS[250:]
    assert len(table) == 300
    np.testing.assert_array_equal(table.rows, ROWS)
    table.keep_every_second()
    np.testing.assert_array_equal(table.rows, ROWS[::2])


def test_rows_that_were_read_stay_when_the_table_grows():
    table = Table((5,), capacity=2)
    table.extend(ROWS[:2])
    seen = table.rows
    table.extend(ROWS[2:])
    np.testing.assert_array_equal(seen, ROWS[:2])


@pytest.mark.parametrize("each", [1, 3, 1000])
def test_chunks_give_back_rows_and_columns(each, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", each * 4 * 5)
    chunks = Chunks(5)
    for row in ROWS:
        chunks.append(row)
    np.testing.assert_array_equal(chunks.take([0, 299, 7], slice(1, 4)), ROWS[[0, 299, 7], 1:4])
    chunks.keep_every_second()
    assert len(chunks) == 150
    np.testing.assert_array_equal(chunks.take(range(150), slice(None)), ROWS[::2])
    assert chunks.take([], slice(1, 4)).shape == (0, 3)


@pytest.mark.parametrize("block", [1, 2, 7, 64, 300])
@pytest.mark.parametrize("most", [2, 5, 16])
def test_snapshots_are_the_same_whatever_the_blocks(block, most):
    """Every `stride`-th moment from the first one on, as many as fit."""
    snapshots = Snapshots(5, most * 4 * 5)
    for first in range(0, 300, block):
        rows = ROWS[first : first + block]
        snapshots.offer(first, 10 * np.arange(first, first + len(rows)), rows)
    stride = next(2**k for k in range(9) if len(range(0, 300, 2**k)) <= most)
    assert snapshots.stride == stride
    assert snapshots.steps.tolist() == list(range(0, 3000, 10 * stride))
    np.testing.assert_array_equal(
        snapshots.take(range(len(snapshots)), slice(None)), ROWS[::stride]
    )


def test_statistics_that_are_handed_in_follow_those_that_wait():
    layout = Layout(("w",), ((5,),))
    recording = Recording(layout)
    recording.add_step((0, 1.0, 0.1), None, ROWS[0], np.zeros(5))
    assert recording.complete
    recording.add_statistics(1, np.ones((1, 8), np.float32), ROWS[1])
    assert recording.statistic_steps.rows.tolist() == [0, 1]
    np.testing.assert_array_equal(recording.initial, ROWS[0])
    np.testing.assert_array_equal(recording.latest, ROWS[1])
    assert recording.snapshots.steps.tolist() == [0, 1]
