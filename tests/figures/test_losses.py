from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit import figures
from labkit.panels.live_figure import pack
from labkit.toys.gradients.derivatives import DerivativeCheck

X = np.linspace(-5, 5, 21)
VALUES = {"square": X**2, "absolute": np.abs(X)}
SLOPES = {"square": 2 * X, "absolute": np.sign(X)}
POINTS = {"square": (9.0, 6.0), "absolute": (3.0, 1.0)}
AT = {"target": 0.0, "at": 3.0, "points": POINTS}
BEST = {"square": 5.1, "absolute": 4.2}
GUESSES = np.array([3.5, 4.0, 4.4, 12.0])
FAR = np.linspace(4, 20, 9)


def check(given):
    return DerivativeCheck(False, "no", "mse", X, 0.0, given, 2 * X)


SPECS = {
    "values": figures.loss_values.spec(X, VALUES, **AT),
    "slopes": figures.loss_slopes.spec(X, SLOPES, **AT),
    "logits": figures.loss_values.spec(X, VALUES, **AT, kind="classification"),
    "walk": figures.loss_walk.spec({"square": X, "absolute": X**2}, target=1.0),
    "walk of logits": figures.loss_walk.spec({"a": X}, target=1.0, kind="classification"),
    "guesses": figures.outlier_fit.spec(GUESSES, BEST, span=(3, 20), unit="m"),
    "pull": figures.outlier_pull.spec(
        FAR, {"square": FAR, "absolute": 0 * FAR}, outlier=12.0, points=BEST
    ),
    "check": figures.slope_check.spec(check(X)),
    "nothing to check": figures.slope_check.spec(check(None)),
}


def trace(spec, name):
    return next(t for t in spec["data"] if t["name"] == name)


@pytest.mark.parametrize("name", SPECS)
def test_every_figure_is_valid_has_titles_and_finite_ranges(name):
    spec = SPECS[name]
    go.Figure(spec)
    pack(spec)
    assert spec["layout"]["meta"]["label"]
    for key in ("xaxis", "yaxis"):
        axis = spec["layout"][key]
        low, high = axis["range"]
        assert np.isfinite([low, high]).all()
        assert low < high
        assert axis["title"]["text"] or (name, key) == ("guesses", "yaxis")
        assert axis["automargin"] is False


@pytest.mark.parametrize("which", ["values", "slopes"])
def test_the_point_lies_where_it_is_told_and_in_sight(which):
    spec = SPECS[which]
    low, high = spec["layout"]["yaxis"]["range"]
    for name, (value, slope) in POINTS.items():
        spot = trace(spec, f"{name}, here")
        assert spot["x"].tolist() == [3.0]
        assert spot["y"].tolist() == [value if which == "values" else slope]
        assert low < spot["y"][0] < high
        assert spot["marker"]["color"] == trace(spec, name)["line"]["color"]


def test_a_tangent_has_the_slope_and_goes_through_the_point():
    for name, (value, slope) in POINTS.items():
        line = trace(SPECS["values"], f"{name}, tangent")
        (x0, x1), (y0, y1) = line["x"], line["y"]
        assert (y1 - y0) / (x1 - x0) == pytest.approx(slope)
        assert (y0 + y1) / 2 == pytest.approx(value)
        assert (x0 + x1) / 2 == pytest.approx(3.0)


def test_a_logit_axis_says_the_probability():
    words = dict(
        zip(*(SPECS["logits"]["layout"]["xaxis"][k] for k in ("tickvals", "ticktext")), strict=True)
    )
    assert words[0] == "0<br>50 %"
    assert words[2] == "2<br>88 %"
    assert words[-4] == "-4<br>1.8 %"
    (note,) = SPECS["logits"]["layout"]["annotations"]
    assert note["text"] == "target: no"


def test_the_best_numbers_stand_where_they_are():
    spec = SPECS["guesses"]
    for name, best in BEST.items():
        assert set(trace(spec, name)["x"].tolist()) == {best}
        assert f"{best:.2f} m" in trace(spec, name)["text"][0]
    assert trace(spec, "guess")["x"].tolist() == GUESSES[:-1].tolist()
    assert trace(spec, "the far guess")["x"].tolist() == [12.0]
    rows = spec["layout"]["yaxis"]["ticktext"]
    assert rows[-1] == "guesses"
    heights = [trace(spec, name)["y"][0] for name in BEST]
    assert [rows[int(h)] for h in heights] == ["best by<br>square", "best by<br>absolute"]


def test_yours_beside_autograds():
    np.testing.assert_array_equal(trace(SPECS["check"], "yours")["y"], X)
    np.testing.assert_array_equal(trace(SPECS["check"], "autograd: slope of mse")["y"], 2 * X)
    empty = trace(SPECS["nothing to check"], "yours (nothing to draw)")
    assert np.isnan(empty["y"]).all()


def test_a_wild_derivative_does_not_flatten_the_true_one():
    spec = figures.slope_check.spec(check(1e9 * X))
    low, high = spec["layout"]["yaxis"]["range"]
    assert high - low < 100
