from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from labkit.figures import network_diagram, theme
from labkit.figures.network import EDGES, WIDTHS
from labkit.training.layout import Layout
from tests.figures.runs import BIG, CNN, MLP, history


def edges(spec):
    """What is drawn: (colour's sign, width) of each edge, by its two ends."""
    found = {}
    for trace in spec["data"][: 2 * len(WIDTHS)]:
        sign = 1 if trace["legendgroup"] == "positive" else -1
        color = theme.POSITIVE if sign > 0 else theme.NEGATIVE
        assert trace["line"]["color"].startswith(theme.rgba(color, 1)[:-2])
        path = np.stack([trace["x"], trace["y"]], axis=1).reshape(-1, 3, 2)
        for a, b, gap in path:
            assert np.isnan(gap).all()
            if np.isfinite(a).all():
                found[tuple(a), tuple(b)] = sign, trace["line"]["width"]
    return found


def nodes(spec, layout, column):
    trace = spec["data"][-1]
    return np.stack([trace["x"], trace["y"]], axis=1)[trace["x"] == column]


def test_each_edge_has_its_weights_sign_and_wider_means_larger():
    weights = history().weights()
    spec = network_diagram.spec(MLP, weights)
    drawn = edges(spec)
    assert len(drawn) == 10 + 15
    sizes = {}
    for column, name in enumerate(("layer1.weight", "output.weight")):
        left, right = nodes(spec, MLP, column), nodes(spec, MLP, column + 1)
        for (to, source), value in np.ndenumerate(weights[name]):
            sign, width = drawn[tuple(left[source]), tuple(right[to])]
            assert sign == np.sign(value)
            sizes.setdefault(width, []).append(abs(value))
    ordered = [sizes[width] for width in sorted(sizes)]
    assert len(ordered) > 2
    for thin, wide in pairwise(ordered):
        assert max(thin) <= min(wide)


def test_hovering_gives_the_exact_weight():
    weights = history().weights()
    points = network_diagram.spec(MLP, weights)["data"][-2]["customdata"]
    for layer, source, to, value in points:
        name = ("layer1.weight", "output.weight")[int(layer) - 1]
        assert value == weights[name][int(to), int(source)]


def test_hover_points_of_different_edges_lie_apart():
    trace = network_diagram.spec(MLP, history().weights())["data"][-2]
    places = np.round(np.stack([trace["x"], trace["y"]], axis=1), 6)
    assert len(np.unique(places, axis=0)) == 25


def test_a_big_network_shows_the_strongest_edges_of_each_layer_and_says_so():
    weights = history(BIG).weights()
    spec = network_diagram.spec(BIG, weights)
    assert len(edges(spec)) == EDGES
    assert f"{EDGES} strongest of 1,600" in spec["layout"]["xaxis"]["title"]["text"]
    facts = spec["data"][-2]["customdata"]
    for layer, name in ((1, "layer1.weight"), (2, "output.weight")):
        shown = np.abs(facts[facts[:, 0] == layer, 3])
        expected = np.sort(np.abs(weights[name].ravel()))[-EDGES // 2 :]
        np.testing.assert_array_equal(np.sort(shown), expected)


def test_traces_are_as_many_whatever_the_weights():
    weights = history().weights()
    count = len(network_diagram.spec(MLP, weights)["data"])
    for value in (0.0, np.nan, np.inf, -1.0):
        same = {name: np.full_like(w, value) for name, w in weights.items()}
        spec = network_diagram.spec(MLP, same)
        assert len(spec["data"]) == count
        assert len(edges(spec)) == (25 if value == -1.0 else 0)
        assert np.isfinite(spec["data"][-1]["marker"]["color"]).all()


def test_units_are_named():
    spec = network_diagram.spec(
        MLP, history().weights(), inputs=["a", "b"], outputs=["c", "d", "e"]
    )
    words = {note["text"] for note in spec["layout"]["annotations"]}
    assert {"a", "b", "c", "d", "e", "input (2)", "layer1 (5)", "output (3)"} <= words


@pytest.mark.parametrize("layout", [CNN, Layout(("a", "b"), ((2, 3), (5, 4)))])
def test_what_is_no_chain_is_refused(layout):
    with pytest.raises(ValueError, match="no chain"):
        network_diagram.spec(layout, {})
