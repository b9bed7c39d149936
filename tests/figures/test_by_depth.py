from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import theme
from labkit.figures.by_depth import by_depth

ROWS = [
    {"tensor": "model.0.conv.weight", "kind": "weight", "std": 0.5, "sparsity": 0.25, "rank": 3},
    {"tensor": "model.0.conv.bias", "kind": "bias", "std": 0.0, "sparsity": 1.0, "rank": ""},
    {"tensor": "model.1.fc.weight", "kind": "weight", "std": np.inf, "sparsity": 0.0, "rank": 1},
]
LAYERS = ["model.0", "model.0", "model.1"]


def build(rows=ROWS, layers=LAYERS, panels=("std", "sparsity"), **more):
    more = {"log": ["std"], "shares": ["sparsity"], **more}
    spec = by_depth.spec(rows, {p: p for p in panels}, label="tensor", layers=layers, **more)
    go.Figure(spec)
    return spec


def dots(spec, y: str) -> dict[str, tuple[float, float, str]]:
    """Of one panel: tensor -> (x, y, symbol)."""
    return {
        name: (trace["x"][k], trace["y"][k], trace["marker"]["symbol"][k])
        for trace in spec["data"]
        if trace.get("yaxis") == y
        for k, name in enumerate(trace["customdata"])
    }


def test_tensors_of_one_module_share_a_place_and_layers_lie_between_lines():
    spec = build()
    place = {name: x for name, (x, _, _) in dots(spec, "y2").items()}
    assert place == {row["tensor"]: x for row, x in zip(ROWS, (0, 0, 1), strict=True)}
    assert [line["x0"] for line in spec["layout"]["shapes"]] == [0.5]
    assert list(spec["layout"]["xaxis2"]["ticktext"]) == ["0", "1"]  # `model.` is in all names


def test_dots_are_the_numbers_zero_is_a_cross_and_infinities_are_left_out():
    std = dots(build(), "y")
    assert std["model.0.conv.weight"][1:] == (0.5, "circle")
    low, high = (10**end for end in build()["layout"]["yaxis"]["range"])
    assert low < std["model.0.conv.bias"][1] < 0.5 < high
    assert std["model.0.conv.bias"][2] == "x"
    assert np.isnan(std["model.1.fc.weight"][1])
    shares = [y for _, y, _ in dots(build(), "y2").values()]
    assert sorted(shares) == [0, 0.25, 1]


def test_a_kind_has_one_colour_and_may_be_hidden():
    spec = build(hidden=["bias"])
    colors = {(t["name"], t["marker"]["color"]) for t in spec["data"]}
    assert colors == {("weight", theme.CATEGORIES[0]), ("bias", theme.CATEGORIES[1])}
    assert {(t["name"], t["visible"]) for t in spec["data"]} == {
        ("weight", True),
        ("bias", "legendonly"),
    }


def test_the_hover_text_has_the_row_without_what_is_left_out():
    trace = next(t for t in build(no_hover=["rank"])["data"] if "text" in t)
    lines = trace["text"][0].split("<br>")
    assert lines == ["<b>model.0.conv.weight</b>", "kind weight", "std 0.5", "sparsity 0.25"]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_panels_lie_below_one_another(count):
    layout = build(panels=("std", "sparsity", "rank", "a", "b")[:count])["layout"]
    domains = [layout[f"yaxis{k + 1 if k else ''}"]["domain"] for k in range(count)]
    assert domains[0][1] == 1
    assert domains[-1][0] == pytest.approx(0)
    assert all(above[0] > below[1] for above, below in pairwise(domains))
    titles = [layout[f"xaxis{k + 1 if k else ''}"]["title"]["text"] for k in range(count)]
    assert [bool(title) for title in titles] == [False] * (count - 1) + [True]


def test_names_of_many_layers_do_not_overlap():
    rows = [{"tensor": f"{k}.w", "kind": "weight", "std": 1.0} for k in range(200)]
    axis = build(rows, [str(k) for k in range(200)], ("std",))["layout"]["xaxis"]
    assert 10 < len(axis["tickvals"]) < 50
    assert np.diff(axis["tickvals"]).min() >= 0.03 * 200


def test_an_empty_table_is_an_empty_picture():
    build([], [])
