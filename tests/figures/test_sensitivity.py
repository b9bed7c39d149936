from __future__ import annotations

import dataclasses
import math

import plotly.graph_objects as go
import pytest

from labkit import figures
from labkit.panels.live_figure import pack
from labkit.quantize import LayerSensitivity, Scheme, Sensitivity
from labkit.vision.evaluation import Metrics

FLOAT = Metrics(0.9, 0.7, 0.9, 0.9, {}, images=5)


def layer(name: str, sqnr: float, left: float, **more) -> LayerSensitivity:
    return LayerSensitivity(name, "Conv", 10, sqnr, left, left, 0.7 - left, **more)


def result(with_map: bool = True) -> Sensitivity:
    metrics = FLOAT if with_map else None
    layers = (layer("model.0", 20, 0.5), layer("model.1", 40, 0.72))
    layers += (layer("model.2", 30, 0.6, head=True),)
    if not with_map:
        layers = tuple(dataclasses.replace(one, map50=None, map=None, drop=None) for one in layers)
    return Sensitivity(4, Scheme(), None, layers, 3, metrics, metrics, metrics, 20.0, 25.0)


def bars(spec) -> dict[tuple[str, str], dict]:
    go.Figure(spec)
    pack(spec)
    return {(trace["name"], trace["yaxis"]): trace for trace in spec["data"]}


def test_errors_are_shares_of_the_signal_and_drops_are_in_map():
    spec = figures.sensitivity.spec(result())
    found = bars(spec)
    body, head = ("backbone and neck", "head")
    assert found[body, "y"]["x"] == ["model.0", "model.1"]
    assert found[body, "y"]["y"] == pytest.approx([10, 1])  # 20 dB is a tenth
    assert found[head, "y"]["y"] == pytest.approx([100 * 10**-1.5])
    assert found[body, "y2"]["y"] == pytest.approx([0.2, -0.02])
    assert found[head, "y2"]["x"] == ["model.2"]
    low, high = spec["layout"]["yaxis2"]["range"]
    assert low < -0.02
    assert high > 0.2
    assert spec["layout"]["xaxis"]["categoryarray"] == ["model.0", "model.1", "model.2"]


def test_without_map_there_is_one_row():
    spec = figures.sensitivity.spec(result(with_map=False))
    assert {place for _, place in bars(spec)} == {"y"}
    assert "yaxis2" not in spec["layout"]


def test_places_are_there_before_the_bars():
    whole = result()
    for count in range(4):
        spec = figures.sensitivity.spec(dataclasses.replace(whole, layers=whole.layers[:count]))
        bars(spec)
        assert spec["layout"]["xaxis"]["range"] == [-0.6, 2.6]


def test_a_layer_that_ruins_everything_does_not_ruin_the_picture():
    ruined = dataclasses.replace(result(), layers=(layer("a", -math.inf, 0), layer("b", 40, 0.7)))
    spec = figures.sensitivity.spec(ruined)
    bars(spec)
    assert spec["layout"]["yaxis"]["range"][1] < 10
