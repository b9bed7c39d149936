from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.analysis.generalization import Memorization
from labkit.figures import (
    boundaries,
    class_accuracy,
    memorization_curves,
    sweep_lines,
    weight_outlines,
)
from labkit.recipe.tasks import load
from labkit.training.predict import ProbabilityMap

ALONG = np.linspace(-1, 1, 5)
HALF = np.stack([np.full((5, 5), 0.4), np.full((5, 5), 0.6)])
SURFACE = ProbabilityMap(ALONG, ALONG, HALF)


def test_boundaries_stand_side_by_side_with_their_own_samples():
    clean, noisy = load("moons", 60, 0.1), load("moons", 60, 0.1, label_noise=0.25)
    spec = boundaries.spec({"a: good": SURFACE, "b": SURFACE}, {"a: good": clean, "b": noisy})
    go.Figure(spec)
    left, right = spec["layout"]["xaxis"]["domain"], spec["layout"]["xaxis2"]["domain"]
    assert 0 == left[0] < left[1] < right[0] < right[1] == pytest.approx(1)
    assert spec["layout"]["yaxis2"]["scaleanchor"] == "x2"
    rings = [trace for trace in spec["data"] if trace.get("name") == "wrong label"]
    assert [len(trace["x"]) for trace in rings] == [0, round(42 * 0.25)]
    assert [trace["showlegend"] for trace in rings] == [False, True]
    wrong = noisy.train_inputs[noisy.mislabelled].numpy()
    np.testing.assert_array_equal(np.stack([rings[1]["x"], rings[1]["y"]], 1), wrong)
    assert [note["text"] for note in spec["layout"]["annotations"]] == ["a<br>good", "b"]
    dots = [t for t in spec["data"] if t["type"] == "scatter" and t.get("name") != "wrong label"]
    assert sum(len(trace["x"]) for trace in dots) == 2 * 42


def test_validation_samples_are_drawn_if_asked_for():
    data = load("blobs", 60, 0.1)
    surface = ProbabilityMap(ALONG, ALONG, np.full((3, 5, 5), 1 / 3))
    spec = boundaries.spec({"a": surface}, {"a": data}, validation=True)
    diamonds = [t for t in spec["data"] if t.get("marker", {}).get("symbol") == "diamond"]
    assert sum(len(trace["x"]) for trace in diamonds) == 18
    assert sum(trace["showlegend"] for trace in diamonds) == 1


def test_a_sweeps_line_is_the_mean_of_its_dots():
    spec = sweep_lines.spec(
        [1, 10, 100],
        {"a": np.array([[1.0, 3.0], [2.0, np.nan], [np.nan, np.nan]]), "b": [4.0, 5.0, 6.0]},
        x_title="size",
        y_title="length",
        log_x=True,
    )
    go.Figure(spec)
    mean, dots, other, single = spec["data"]
    np.testing.assert_array_equal(mean["y"], [2.0, 2.0, np.nan])
    assert (dots["x"].tolist(), dots["y"][:3].tolist()) == ([1, 1, 10, 10, 100, 100], [1, 3, 2])
    assert other["y"].tolist() == [4, 5, 6]
    assert single["visible"] is False, "one run is its own mean"
    low, high = spec["layout"]["xaxis"]["range"]
    assert low < 0 < 2 < high
    assert spec["layout"]["yaxis"]["range"][1] >= 6


def test_zero_has_a_place_on_a_logarithmic_axis():
    spec = sweep_lines.spec(
        [0, 0.1, 1], {"a": [1.0, 2.0, 3.0]}, x_title="decay", y_title="norm", log_x=True
    )
    assert spec["data"][0]["x"].tolist() == [0, 1, 2]
    assert spec["layout"]["xaxis"]["ticktext"] == ["0", "0.1", "1"]
    assert spec["layout"]["xaxis"].get("type") is None


def test_one_value_is_enough():
    spec = sweep_lines.spec([5], {"a": [0.0]}, x_title="x", y_title="y", log_x=True)
    go.Figure(spec)
    for name in ("xaxis", "yaxis"):
        low, high = spec["layout"][name]["range"]
        assert np.isfinite([low, high]).all()
        assert low < high


def test_memorization_has_a_line_for_each_kind():
    share = np.linspace(0, 1, 4)
    found = Memorization(np.array([0, 1, 10, 100]), share, share**2, 1 - share)
    spec = memorization_curves.spec(found)
    go.Figure(spec)
    right, wrong, val = spec["data"]
    np.testing.assert_array_equal(right["x"], [np.nan, 1, 10, 100])
    np.testing.assert_array_equal(wrong["y"], share**2)
    assert "correct" in right["name"]
    assert "wrong" in wrong["name"]
    assert "validation" in val["name"]
    assert spec["layout"]["xaxis"]["range"] == [0, 2]


def test_each_class_has_a_bar_for_each_run():
    spec = class_accuracy.spec({"a": np.array([1.0, 0.5]), "b": np.array([np.nan, 0.25])})
    go.Figure(spec)
    assert [trace["name"] for trace in spec["data"]] == ["a", "b"]
    assert spec["data"][0]["x"] == ["class 0", "class 1"]
    np.testing.assert_array_equal(spec["data"][1]["y"], [np.nan, 0.25])


def test_outlines_count_every_weight_in_bins_of_their_own():
    rng = np.random.default_rng(0)
    weights = {"small": rng.normal(0, 0.1, (20, 30)), "large": rng.normal(0, 2, 500)}
    spec = weight_outlines.spec(weights)
    go.Figure(spec)
    for trace, values in zip(spec["data"], weights.values(), strict=True):
        counts, _ = np.histogram(values, trace["x"])
        np.testing.assert_array_equal(trace["customdata"][:-1], counts)
        assert counts.sum() == values.size
        low = 10 ** spec["layout"]["yaxis"]["range"][0]
        assert (trace["y"][:-1][counts == 0] < low).all(), "no weights, no line in sight"
