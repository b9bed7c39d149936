from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import comparison, schedule_curve

ROWS = [
    {"optimizer": name, "seed": seed, "val_accuracy": base + 0.1 * seed, "val_loss": 0.5 + seed}
    for name, base in (("sgd", 0.5), ("adam", 0.7))
    for seed in (0, 1)
]


def test_rows_of_one_label_share_a_bar_at_their_mean():
    spec = comparison.spec(ROWS, "val_accuracy", label="optimizer")
    go.Figure(spec)
    bars, points = spec["data"]
    np.testing.assert_allclose(bars["x"], [0.55, 0.75])
    np.testing.assert_allclose(points["x"], [0.5, 0.6, 0.7, 0.8])
    assert spec["layout"]["yaxis"]["ticktext"] == ["sgd", "adam"]
    assert points["visible"]


def test_labels_are_what_differs_and_was_not_measured():
    assert comparison.spec(ROWS, "val_accuracy")["layout"]["yaxis"]["ticktext"] == ["sgd", "adam"]


@pytest.mark.parametrize("rows", [[], [{"a": 1}], [{"a": "x", "v": None}, {"a": "y", "v": np.nan}]])
def test_tables_without_numbers_give_an_empty_picture(rows):
    spec = comparison.spec(rows, "v")
    go.Figure(spec)
    assert np.isfinite(spec["layout"]["xaxis"]["range"]).all()


def test_the_axis_names_value_and_unit():
    spec = comparison.spec([{"n": "a", "ms": 3.0}, {"n": "b", "ms": -4.0}], "ms", unit="per step")
    assert spec["layout"]["xaxis"]["title"]["text"] == "ms (per step)"
    low, high = spec["layout"]["xaxis"]["range"]
    assert low <= -4 < 3 <= high


def test_schedules_are_multiplied_by_the_rate():
    factors = {"half": np.full(1000, 0.5), "fall": np.linspace(1, 0, 1000)}
    spec = schedule_curve.spec(factors, lr=0.2)
    go.Figure(spec)
    assert [trace["name"] for trace in spec["data"]] == ["half", "fall"]
    np.testing.assert_allclose(spec["data"][0]["y"], 0.1)
    np.testing.assert_allclose(spec["data"][1]["y"], 0.2 * factors["fall"][spec["data"][1]["x"]])
    assert spec["layout"]["yaxis"]["title"]["text"] == "learning rate"
    assert len(schedule_curve.spec(factors["fall"])["data"]) == 1
