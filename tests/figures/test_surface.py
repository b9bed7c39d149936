from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import step_check, surface_map, theme, walk_losses, walk_state
from labkit.figures.surface import walk_colors
from labkit.panels.live_figure import pack
from labkit.toys.surfaces import SURFACES, surface
from labkit.toys.trajectories import walk

RAVINE = surface("ravine")
NAMES = ("sgd", "momentum", "adam")
WALKS = {f"{name}, lr 0.01": walk(RAVINE, name, 0.01, steps=30) for name in NAMES}
LOST = walk(RAVINE, "sgd", 0.03, steps=100)


def the_map(walks=WALKS, **more):
    return surface_map.spec(*RAVINE.grid(31), walks, minima=RAVINE.minima, **more)


def trace(spec, name):
    return next(item for item in spec["data"] if item.get("name") == name)


def still(spec):
    """What must not change while it streams: everything but numbers."""
    data = [
        {k: v for k, v in t.items() if k not in ("x", "y", "z", "customdata")} for t in spec["data"]
    ]
    return data, spec["layout"]


def test_specs_are_valid_figures():
    for spec in (
        the_map(),
        the_map(step=3),
        walk_losses.spec(WALKS, step=3),
        *(walk_state.spec(one, step=3) for one in WALKS.values()),
        walk_state.spec(walk(RAVINE, "lbfgs", 0.5, steps=4)),
        step_check.spec(np.arange(5.0), np.arange(5.0) ** 2, "torch's sgd", 2),
    ):
        go.Figure(spec)
        pack(spec)


@pytest.mark.parametrize("name", SURFACES)
def test_low_ground_is_pale_and_bands_follow_the_logarithm(name):
    ground = surface(name)
    x, y, losses = ground.grid(41)
    shown = surface_map.spec(x, y, losses, {})["data"][0]
    assert np.isfinite(shown["z"]).all()
    order = np.argsort(losses, axis=None)
    assert (np.diff(shown["z"].ravel()[order]) >= 0).all()
    floor = np.quantile(losses, 0.01)
    above = losses > max(floor, 1e-300)
    np.testing.assert_allclose(shown["z"][above], np.log10(losses[above]), rtol=1e-5, atol=1e-6)
    alphas = [float(color.rstrip(")").split(",")[-1]) for _, color in shown["colorscale"]]
    assert alphas == sorted(alphas)
    places = [place for place, _ in shown["colorscale"]]
    assert (places[0], places[-1]) == (0, 1)
    assert len(set(places)) == len(places) / 2 + 1, "a band ends where the next begins"


def test_paths_are_the_walks_and_hover_counts_steps():
    spec = the_map()
    for name, one in WALKS.items():
        line = trace(spec, name)
        np.testing.assert_array_equal(np.stack([line["x"], line["y"]], 1), one.path)
        assert line["customdata"].tolist() == list(range(31))


def test_time_cuts_every_path_and_changes_nothing_else():
    for build in (the_map, lambda **m: walk_losses.spec(WALKS, **m)):
        early, late = build(step=3), build(step=20)
        assert still(early) == still(late), "it could not stream"
    name = "sgd, lr 0.01"
    line = trace(the_map(step=3), name)
    np.testing.assert_array_equal(line["x"], WALKS[name].path[:4, 0])
    assert trace(the_map(step=500), name)["x"].size == 31
    for one in WALKS.values():
        assert still(walk_state.spec(one, step=3)) == still(walk_state.spec(one, step=20))


def test_long_walks_are_thinned():
    one = walk(RAVINE, "sgd", 0.01, steps=2000)
    for spec in (the_map({"sgd": one}), walk_losses.spec({"sgd": one}), walk_state.spec(one)):
        assert all(len(t["x"]) <= 300 for t in spec["data"] if t["type"] == "scatter")


def test_an_optimizer_has_one_colour_wherever_it_stands():
    one, other = walk_colors(WALKS), walk_colors(dict(reversed(WALKS.items())))
    assert one == other
    assert len(set(one.values())) == 3
    twins = {"torch's": LOST, "yours": LOST, **WALKS}
    assert len(set(walk_colors(twins).values())) >= 4


def test_a_diverged_walk_is_named_and_does_not_spoil_the_axes():
    spec = the_map({"sgd": LOST})
    assert trace(spec, "sgd (diverged)")
    assert spec["layout"]["xaxis"]["range"] == list(RAVINE.limits[0])
    low, high = walk_losses.spec({"sgd": LOST})["layout"]["yaxis"]["range"]
    assert np.isfinite([low, high]).all()
    assert 10**high >= LOST.losses.max()


def test_losses_stop_at_a_billionth():
    arrived = walk(surface("ravine", condition=1), "sgd", 1.0, steps=5)
    assert arrived.losses[-1] == 0
    spec = walk_losses.spec({"sgd": arrived})
    low, high = spec["layout"]["yaxis"]["range"]
    assert high - low < 11
    assert np.isfinite(spec["data"][0]["y"]).all()


def test_the_state_of_the_optimizer_is_shown():
    momentum, adam = WALKS["momentum, lr 0.01"], WALKS["adam, lr 0.01"]
    spec = walk_state.spec(momentum)
    np.testing.assert_array_equal(trace(spec, "velocity y")["y"], momentum.state["mean"][:, 1])
    np.testing.assert_array_equal(trace(spec, "gradient x")["y"], momentum.gradients[:, 0])
    assert (trace(spec, "factor x")["y"][1:] == 0.01).all()
    spec = walk_state.spec(adam)
    np.testing.assert_array_equal(trace(spec, "√v y")["y"], adam.state["root"][:, 1])
    np.testing.assert_array_equal(trace(spec, "mean m x")["y"], adam.state["mean"][:, 0])
    low, high = spec["layout"]["yaxis3"]["range"]
    factor = np.log10(adam.state["effective_lr"][1:])
    assert low < factor.min() <= factor.max() < high


def test_state_without_a_factor_shows_the_steps():
    one = walk(RAVINE, "rprop", 0.01, steps=10)
    steps = trace(walk_state.spec(one), "step y")
    np.testing.assert_allclose(steps["y"][1:], np.diff(one.path[:, 1]))


def test_each_weight_has_an_axis_that_holds_its_lines():
    spec = walk_state.spec(WALKS["adam, lr 0.01"])
    for line in spec["data"]:
        axis = spec["layout"]["yaxis" + line["yaxis"][1:]]
        low, high = axis["range"]
        y = np.log10(line["y"]) if axis.get("type") == "log" else line["y"]
        assert np.nanmin(y) >= low - 1e-9
        assert np.nanmax(y) <= high + 1e-9


def test_a_check_marks_the_first_difference():
    theirs = np.linspace(0, 1, 11)
    same = step_check.spec(theirs, theirs, "torch's sgd", None)
    assert [t["visible"] for t in same["data"] if t["name"] == "first difference"] == [False]
    other = step_check.spec(theirs**2, theirs, "torch's sgd", 3)
    assert trace(other, "first difference")["x"].tolist() == [3, 3]
    np.testing.assert_array_equal(trace(other, "yours")["y"], theirs**2)
    assert trace(other, "torch's sgd")["line"]["color"].startswith("rgba")
    assert theme.VERMILLION in trace(other, "yours")["line"]["color"]
