from __future__ import annotations

import re

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import (
    distribution_by_depth,
    shares_by_depth,
    sizes_by_depth,
    spread_by_fan_in,
)
from labkit.panels.live_figure import pack

RNG = np.random.default_rng(0)
FLOWS = {
    "one layer": {"layer1": RNG.normal(size=(50, 4))},
    "twenty layers": {f"layer{k}": RNG.normal(size=(50, 4)) for k in range(1, 21)},
    "collapsed": {f"layer{k}": np.zeros((50, 4)) for k in range(1, 6)},
    "exploding": {f"layer{k}": 10.0 ** (2 * k) * RNG.normal(size=(50, 4)) for k in range(1, 11)},
    "largest floats": {"layer1": np.array([3e38, -3e38], np.float32)},
    "broken": {"layer1": np.ones(4), "layer2": np.array([np.nan, np.inf]), "layer3": np.ones(4)},
    "no layer": {},
}


def axes(spec):
    return [spec["layout"][key] for key in ("xaxis", "yaxis")]


@pytest.mark.parametrize("name", FLOWS)
def test_whatever_comes_the_figures_are_valid_and_their_axes_finite(name):
    flow = FLOWS[name]
    with np.errstate(all="ignore"):
        stds = {"activations": [float(np.std(values)) for values in flow.values()]}
    for spec in (
        distribution_by_depth.spec(flow),
        sizes_by_depth.spec(stds),
        shares_by_depth.spec({"zero": [np.mean(v == 0) for v in flow.values()]}, share="zero"),
    ):
        go.Figure(spec)
        pack(spec)
        for axis in axes(spec):
            low, high = axis["range"]
            assert np.isfinite([low, high]).all()
            assert low < high
            assert axis["title"]["text"]


# --- distributions -----------------------------------------------------------------------


def shape(trace) -> tuple[float, float, float]:
    """Lowest and highest value, and the widest half of a shape around its layer's place."""
    return trace["y"].min(), trace["y"].max(), float(np.ptp(trace["x"])) / 2


def test_a_shape_reaches_from_the_smallest_to_the_largest_number():
    values = {"layer1": np.linspace(-1, 1, 500), "layer2": np.linspace(-0.25, 0.5, 500)}
    spec = distribution_by_depth.spec(values)
    low, high = spec["layout"]["yaxis"]["range"]
    bin_height = (high - low) / 61
    for trace, array in zip(spec["data"], values.values(), strict=True):
        bottom, top, _ = shape(trace)
        assert array.min() - bin_height <= bottom <= array.min()
        assert array.max() <= top <= array.max() + bin_height


def test_the_width_is_the_root_of_the_share():
    """Nine tenths of one value and one tenth of another: a third as wide."""
    values = np.repeat([0.0, 1.0], [900, 100])
    (trace,) = distribution_by_depth.spec({"layer1": values})["data"]
    at_zero = np.abs(trace["y"]) < 0.05
    near_one = np.abs(trace["y"] - 1) < 0.05
    widths = [np.ptp(trace["x"][where]) for where in (at_zero, near_one)]
    assert widths[1] == pytest.approx(widths[0] / 3)


def test_a_collapsed_layer_is_a_dash_at_zero_beside_others():
    values = {"layer1": np.linspace(-1, 1, 100), "layer2": np.zeros(100)}
    spec = distribution_by_depth.spec(values)
    bottom, top, half = shape(spec["data"][1])
    assert bottom < 0 < top
    assert top - bottom < 0.05
    assert half == pytest.approx(0.42)
    assert "100% exactly 0" in spec["data"][1]["text"]


def test_layers_keep_their_places_and_do_not_touch():
    spec = distribution_by_depth.spec(FLOWS["twenty layers"])
    for place, trace in enumerate(spec["data"], start=1):
        assert np.abs(trace["x"] - place).max() < 0.5
    assert spec["layout"]["xaxis"]["ticktext"] == [str(k) for k in range(1, 21)]


def test_exploding_layers_share_an_axis_that_is_labelled_with_their_values():
    spec = distribution_by_depth.spec(FLOWS["exploding"])
    heights = [np.abs(trace["y"]).max() for trace in spec["data"]]
    assert (np.diff(heights) > 1).all(), "two decades a layer"
    axis = spec["layout"]["yaxis"]
    assert len(axis["ticktext"]) >= 5
    for label, at in zip(axis["ticktext"], axis["tickvals"], strict=True):
        power = re.fullmatch(r"(−?)10<sup>(\d+)</sup>", label)
        value = float(f"{'-' if power[1] else ''}1e{power[2]}") if power else float(label)
        assert at == pytest.approx(np.sign(value) * np.log10(1 + abs(value)))
    assert "tickvals" not in distribution_by_depth.spec(FLOWS["one layer"])["layout"]["yaxis"]


def test_hovering_tells_what_is_not_finite():
    spec = distribution_by_depth.spec({"layer1": np.array([1.0, np.nan, 2.0, np.inf])})
    assert "50% not finite" in spec["data"][0]["text"]
    assert "from 1 to 2" in spec["data"][0]["text"]
    none = distribution_by_depth.spec({"layer1": np.array([np.nan])})
    assert "no finite number" in none["data"][0]["text"]


# --- sizes -------------------------------------------------------------------------------


def named(spec, name):
    (trace,) = [trace for trace in spec["data"] if trace["name"] == name]
    return trace


def test_lines_hold_the_numbers_given():
    spec = sizes_by_depth.spec({"up": [1, 2, 4], "down": [1, 0.1, 0.01]}, dashed={"law": [1, 1, 1]})
    np.testing.assert_array_equal(named(spec, "up")["y"], [1, 2, 4])
    np.testing.assert_array_equal(named(spec, "up")["x"], [1, 2, 3])
    assert named(spec, "law")["line"]["dash"] == "dash"
    assert spec["layout"]["yaxis"]["type"] == "log"


def test_zero_and_infinity_are_marked_inside_the_picture():
    spec = sizes_by_depth.spec({"a": [1.0, 0.0, np.inf, 0.0], "b": [1.0, 0.0, 1.0, 1.0]})
    low, high = spec["layout"]["yaxis"]["range"]
    zero, endless = named(spec, "exactly 0"), named(spec, "not finite")
    assert sorted(np.rint(zero["x"]).tolist()) == [2, 2, 4]
    assert len(set(zero["x"].tolist())) == 3, "none hides another"
    assert np.rint(endless["x"]).tolist() == [3]
    for trace in (zero, endless):
        assert ((low < np.log10(trace["y"])) & (np.log10(trace["y"]) < high)).all()
        assert trace["showlegend"]
    assert np.isnan(named(spec, "a")["y"]).tolist() == [False, True, True, True]
    assert not named(sizes_by_depth.spec({"a": [1.0]}), "exactly 0")["showlegend"]


def test_a_flat_line_looks_flat():
    """Ten per cent more or less takes at most a twentieth of the height."""
    low, high = sizes_by_depth.spec({"a": [1.0, 1.1, 1.0]})["layout"]["yaxis"]["range"]
    assert np.log10(1.1) / (high - low) < 0.05


def test_earlier_lines_are_dotted_in_the_colour_of_today():
    spec = sizes_by_depth.spec({"a": [1, 2], "b": [3, 4]}, before={"a": [5, 6, 7], "b": [7, 8, 9]})
    for name in ("a", "b"):
        earlier, now = [trace for trace in spec["data"] if trace["name"] == name]
        assert earlier["line"]["dash"] == "dot"
        assert earlier["line"]["color"] == now["line"]["color"]
        assert (earlier["showlegend"], now["showlegend"]) == (False, True)
    assert spec["layout"]["xaxis"]["range"][1] > 3, "a deeper network before is shown whole"


def test_layers_with_names_of_their_own_keep_them():
    axis = sizes_by_depth.spec({"a": [1, 2, 3]}, layers=["conv1", "layer2", "output"])["layout"]
    assert axis["xaxis"]["ticktext"] == ["conv1", "2", "output"]


def test_shares_are_per_cent():
    spec = shares_by_depth.spec({"before": [0.0, 0.25], "after": [1.0, 0.5]}, share="dead")
    np.testing.assert_array_equal(named(spec, "before")["y"], [0, 25])
    np.testing.assert_array_equal(named(spec, "after")["y"], [100, 50])


def test_spread_by_fan_in_shows_points_on_lines():
    fans = [1, 4, 16]
    root = np.sqrt(fans)
    spec = spread_by_fan_in.spec(fans, {"measured": 1.01 * root}, {"law": root})
    assert named(spec, "measured")["mode"] == "markers"
    np.testing.assert_allclose(named(spec, "law")["y"], [1, 2, 4])
    for axis in axes(spec):
        assert axis["type"] == "log"
