from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import overview

ROWS = [
    {"init": "he", "bend": "relu", "std": 0.5, "accuracy": 0.9},
    {"init": "he", "bend": "tanh", "std": 0.7, "accuracy": 0.8},
    {"init": "zeros", "bend": "relu", "std": 0.0, "accuracy": 0.1},
    {"init": "huge", "bend": "relu", "std": 1e20, "accuracy": float("nan")},
]
COLUMNS = {"std": "std of it", "accuracy": "how good"}


def build(rows=ROWS, **more):
    return overview.spec(rows, COLUMNS, label="init", **{"group": "bend", "log": ["std"], **more})


def traces(spec, x):
    return [trace for trace in spec["data"] if trace["xaxis"] == x]


def test_a_line_a_label_and_a_panel_a_column():
    spec = build()
    go.Figure(spec)
    assert spec["layout"]["yaxis"]["ticktext"] == ["he", "zeros", "huge"]
    assert spec["layout"]["xaxis"]["title"]["text"] == "std of it"
    assert spec["layout"]["xaxis2"]["title"]["text"] == "how good"
    assert spec["layout"]["xaxis"]["type"] == "log"
    assert "type" not in spec["layout"]["xaxis2"]


def test_points_are_the_numbers_at_their_line():
    relu, tanh = traces(build(), "x2")
    np.testing.assert_allclose(relu["x"][:2], [0.9, 0.1])
    np.testing.assert_array_equal(np.rint(relu["y"]), [0, 1, 2])
    np.testing.assert_array_equal(np.rint(tanh["y"]), [0])
    assert relu["y"][0] != tanh["y"][0], "one would hide the other"
    assert relu["customdata"][0] == "he: 0.9"


def test_zero_on_a_log_axis_and_nan_are_marked_at_the_edges():
    spec = build()
    std, accuracy = traces(spec, "x")[0], traces(spec, "x2")[0]
    assert std["marker"]["symbol"] == ["circle", "x", "circle"]
    low, high = spec["layout"]["xaxis"]["range"]
    assert low < np.log10(std["x"][1]) < np.log10(0.5)
    assert accuracy["marker"]["symbol"] == ["circle", "circle", "triangle-right-open"]
    assert 0.9 < accuracy["x"][2] < spec["layout"]["xaxis2"]["range"][1]
    assert np.isfinite([low, high]).all()


def test_panels_lie_side_by_side_within_the_page():
    left, right = (build()["layout"][name]["domain"] for name in ("xaxis", "xaxis2"))
    assert 0 <= left[0] < left[1] < right[0] < right[1] <= 1


@pytest.mark.parametrize("rows", [[], [{"init": "a"}], [{"init": "a", "std": None, "bend": "b"}]])
def test_tables_without_numbers_give_an_empty_picture(rows):
    go.Figure(build(rows, group=None))


def test_without_groups_there_is_no_legend():
    spec = build(group=None)
    assert spec["layout"]["showlegend"] is False
    assert len(spec["data"]) == 2
