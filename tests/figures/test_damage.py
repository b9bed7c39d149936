from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from labkit import figures
from labkit.panels.live_figure import pack


def by_name(spec):
    return {trace["name"]: trace for trace in spec["data"]}


def test_a_curve_is_in_order_whatever_came_first():
    spec = figures.damage_curve.spec(
        {"noise": [(0.5, 0.2), (0.0, 0.9), (1.0, 0.0)], "prune": [(0.3, 0.8)]},
        undamaged=0.9,
        unit="share",
        now=(0.5, 0.2),
    )
    go.Figure(spec)
    pack(spec)
    traces = by_name(spec)
    np.testing.assert_array_equal(traces["noise"]["x"], [0, 0.5, 1])
    np.testing.assert_array_equal(traces["noise"]["y"], [0.9, 0.2, 0])
    assert traces["undamaged"]["y"] == [0.9, 0.9]
    assert (traces["now"]["x"], traces["now"]["y"]) == ([0.5], [0.2])
    low, high = spec["layout"]["xaxis"]["range"]
    assert low < 0
    assert high > 1
    assert spec["layout"]["xaxis"]["title"]["text"] == "share"


def test_before_anything_was_tried_there_is_a_picture():
    spec = figures.damage_curve.spec({}, undamaged=0.5, span=(0, 3))
    go.Figure(spec)
    assert by_name(spec)["now"]["x"] == []
    assert not by_name(spec)["now"]["showlegend"]
    assert spec["layout"]["xaxis"]["range"][1] > 3


def test_layers_stand_in_their_order():
    layers = {"model.0": 0.1, "model.10": 0.8, "model.2": 0.7}
    spec = figures.damage_by_layer.spec(layers, undamaged=0.9, title="noise")
    go.Figure(spec)
    pack(spec)
    bars = by_name(spec)["one layer damaged"]
    assert bars["x"] == ["model.0", "model.10", "model.2"]
    np.testing.assert_array_equal(bars["y"], [0.1, 0.8, 0.7])
    assert spec["layout"]["xaxis"]["type"] == "category"
