from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import step_check
from labkit.panels.live_figure import pack


def traces(spec) -> dict[str, dict]:
    go.Figure(spec)
    pack(spec)
    return {trace["name"]: trace for trace in spec["data"]}


def test_both_weights_are_drawn_as_they_are_and_the_first_difference_is_marked():
    theirs = 0.9 ** np.arange(30)
    yours = np.where(np.arange(30) < 12, theirs, 1.0)
    spec = step_check.spec(yours, theirs, "torch SGD", 12)
    found = traces(spec)
    np.testing.assert_array_equal(found["torch SGD"]["y"], theirs)
    np.testing.assert_array_equal(found["yours"]["y"], yours)
    np.testing.assert_array_equal(found["yours"]["x"], np.arange(30))
    line = found["first difference"]
    assert line["visible"]
    assert line["x"].tolist() == [12, 12]
    assert line["y"].tolist() == spec["layout"]["yaxis"]["range"]
    assert spec["layout"]["xaxis"]["range"] == [0, 29]


def test_without_a_difference_there_is_no_mark_but_as_many_traces():
    same = np.linspace(0, 1, 5)
    assert not traces(step_check.spec(same, same, "torch", None))["first difference"]["visible"]
    assert len(step_check.spec(same, same, "torch", None)["data"]) == 3


@pytest.mark.parametrize("steps", [0, 1, 10_000])
def test_lines_hold_every_finite_value_and_few_points(steps):
    theirs = np.random.default_rng(0).normal(size=steps + 1)
    yours = theirs.copy()
    yours[-1] = np.inf
    spec = step_check.spec(yours, theirs, "torch", steps)
    found = traces(spec)
    low, high = spec["layout"]["yaxis"]["range"]
    assert low <= theirs.min() <= theirs.max() <= high
    assert len(found["yours"]["x"]) <= 257
    assert found["yours"]["x"][-1] == steps
    assert np.isnan(found["yours"]["y"][-1])
