from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.analysis.lr_range import judge
from labkit.figures import range_curve
from labkit.panels.live_figure import pack

LRS = np.geomspace(1e-5, 10, 200)
FALL = 1 - 0.8 / (1 + np.exp(-(np.log10(LRS) + 2) / 0.3))
TEST = judge(LRS, FALL + 10 * (LRS / 0.3) ** 4)


def named(spec, name: str) -> dict:
    return next(trace for trace in spec["data"] if trace["name"].startswith(name))


def test_curves_are_the_tests():
    spec = range_curve.spec(TEST)
    for name, values in {"batches": TEST.losses, "smoothed": TEST.smoothed}.items():
        trace = named(spec, name)
        np.testing.assert_array_equal(trace["x"], LRS)
        np.testing.assert_array_equal(trace["y"], values)
    assert spec["layout"]["xaxis"]["type"] == "log"
    assert spec["layout"]["xaxis"]["range"] == pytest.approx([-5, 1])


def test_the_suggestion_is_on_the_smoothed_curve():
    mark = named(range_curve.spec(TEST), "suggestion")
    assert mark["x"] == [TEST.suggestion]
    at = int(np.abs(LRS - TEST.suggestion).argmin())
    assert mark["y"] == pytest.approx([TEST.smoothed[at]])
    assert f"{TEST.suggestion:.2g}" in mark["name"]


def test_the_zones_meet_where_the_test_says():
    layout = range_curve.spec(TEST)["layout"]
    edges = [(shape["x0"], shape["x1"]) for shape in layout["shapes"]]
    assert np.ravel(edges) == pytest.approx([1e-5, *np.repeat(TEST.zone, 2), 10])
    words = {note["text"]: 10 ** note["x"] for note in layout["annotations"]}
    assert list(words) == ["too low", "learns", "too high"]
    assert words["too low"] < TEST.zone[0] < words["learns"] < TEST.zone[1] < words["too high"]


def test_an_explosion_does_not_flatten_what_came_before():
    low, high = range_curve.spec(TEST)["layout"]["yaxis"]["range"]
    assert low <= np.nanmin(TEST.smoothed)
    assert 1 < high < 3
    assert np.nanmax(TEST.losses) > 1000


def test_without_a_suggestion_there_is_a_curve_and_the_reason():
    spec = range_curve.spec(judge(LRS, np.full(200, 0.7)))
    assert spec["layout"]["shapes"] == []
    assert not named(spec, "no suggestion")["showlegend"]
    assert "never fell" in spec["layout"]["meta"]["label"]


@pytest.mark.parametrize(
    "losses", [FALL, np.full(200, np.nan), np.where(np.arange(200) > 30, np.inf, 1.0)]
)
def test_any_test_gives_a_figure(losses):
    spec = range_curve.spec(judge(LRS, losses))
    go.Figure(spec)
    pack(spec)
    assert np.isfinite(spec["layout"]["yaxis"]["range"]).all()


def test_few_points():
    spec = range_curve.spec(judge(LRS[:1], FALL[:1]))
    go.Figure(spec)
