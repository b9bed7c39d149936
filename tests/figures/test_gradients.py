from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from labkit import figures
from labkit.figures import theme
from labkit.panels.live_figure import pack


def test_bars_are_red_above_the_tolerance():
    spec = figures.gradient_errors.spec({"w": 0.5, "b": 1e-9, "c": 0.0}, 1e-4, eps=1e-5)
    go.Figure(spec)
    pack(spec)
    (bars,) = spec["data"]
    assert bars["x"] == ["w", "b", "c"]
    assert bars["marker"]["color"] == [theme.VERMILLION, theme.GREEN, theme.GREEN]
    assert bars["customdata"] == ["wrong", "correct", "correct"]
    assert (bars["y"] > 0).all(), "a log axis has no zero"
    assert spec["layout"]["shapes"][0]["y0"] == 1e-4
    low, high = spec["layout"]["yaxis"]["range"]
    assert 10**low <= bars["y"].min()
    assert bars["y"].max() < 10**high


def test_the_curve_marks_where_one_is():
    eps = np.logspace(-10, 0, 11)
    errors = {"float64": eps**2 + 1e-16 / eps, "float32": np.zeros(11)}
    spec = figures.check_by_eps.spec(eps, errors, at=1e-5)
    go.Figure(spec)
    pack(spec)
    assert [trace["name"] for trace in spec["data"]] == ["float64", "float32"]
    np.testing.assert_array_equal(spec["data"][0]["y"], errors["float64"])
    assert np.isnan(spec["data"][1]["y"]).all()
    (line,) = spec["layout"]["shapes"]
    assert line["x0"] == line["x1"] == 1e-5
    assert "shapes" not in figures.check_by_eps.spec(eps, errors)["layout"]
