"""Weights on their grid, over the steps."""

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit import figures
from labkit.panels.live_figure import pack


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_then_and_now(bits):
    parts = 8 * 2**bits
    then, now = np.zeros(parts), np.zeros(parts)
    then[parts // 2] = 10
    now[parts // 2 + 8] = 30
    spec = figures.weights_on_grid.spec(
        np.array([4, 8]), [then, now], np.array([0.2, 0.3]), np.array([0.0, 1.0]), bits=bits, end=20
    )
    go.Figure(spec)
    pack(spec)
    bars, line, levels, distance, moved = spec["data"]
    width = bars["width"]
    for trace, place in ((line, 0.0), (bars, 1.0)):
        (full,) = np.flatnonzero(trace["y"])
        assert trace["x"][full] == pytest.approx(-0.5 + place + width / 2), "one step further"
        assert trace["y"].sum() * width == pytest.approx(1)
    assert list(levels["x"]) == list(
        range(max(-8, -(2 ** (bits - 1))), min(8, 2 ** (bits - 1) - 1) + 1)
    )
    assert list(distance["y"]) == [0.2, 0.3]
    assert list(moved["y"]) == [0.0, 1.0]
    assert spec["layout"]["xaxis2"]["range"] == [0, 20]


def test_before_the_first_record():
    nothing = np.empty(0)
    spec = figures.weights_on_grid.spec(nothing, [], nothing, nothing, bits=8)
    go.Figure(spec)
    pack(spec)
