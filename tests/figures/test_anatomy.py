"""All tensors in one picture, what changed, filters, and one tensor as a diagram."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from labkit.figures import (
    changes_by_depth,
    tensor_diagram,
    tensor_distribution,
    tensors_by_depth,
)
from labkit.panels.live_figure import pack
from labkit.weights import anatomy, compare


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)) for _ in range(12))
        )


def panels(spec):
    """The dots of each panel by tensor: name -> (x, y, symbol)."""
    found: dict[str, dict[str, tuple[float, float, str]]] = {}
    for trace in spec["data"]:
        for k, name in enumerate(trace.get("customdata", ())):
            place = trace["x"][k], trace["y"][k], trace["marker"]["symbol"][k]
            found.setdefault(trace["yaxis"], {})[name] = place
    return list(found.values())


def check(spec):
    go.Figure(spec)
    pack(spec)
    for key, axis in spec["layout"].items():
        if key[1:5] == "axis":
            assert np.isfinite(axis["range"]).all()
    return spec


def test_every_tensor_has_its_dot_in_every_panel():
    infos = anatomy(network())
    spec = check(tensors_by_depth.spec(infos))
    count, std, norm, sparsity, rank = panels(spec)
    for info in infos:
        assert count[info.name][1] == info.count
        if info.norm > 0:
            assert norm[info.name][1] == info.norm
        assert sparsity[info.name][1] == info.sparsity
        share = rank[info.name][1]
        assert np.isnan(share) if info.kind != "weight" else 0 < share <= 1
    assert std["0.1.weight"][2] == "x"  # all ones: no spread, which a log axis cannot hold


def test_depth_goes_from_left_to_right_and_modules_share_a_place():
    spec = tensors_by_depth.spec(anatomy(network()))
    place = {name: x for name, (x, _, _) in panels(spec)[0].items()}
    assert (
        place["0.0.weight"] == place["0.0.bias"] < place["0.1.weight"] == place["0.1.running_var"]
    )
    firsts = [place[f"{layer}.0.weight"] for layer in range(12)]
    assert firsts == sorted(set(firsts))
    lines = [shape["x0"] for shape in spec["layout"]["shapes"]]
    assert len(lines) == 11
    assert all(
        low < line < high for low, line, high in zip(firsts, lines, firsts[1:], strict=False)
    )


def test_buffers_wait_in_the_legend():
    spec = tensors_by_depth.spec(anatomy(network()))
    found = {trace["name"]: trace["visible"] for trace in spec["data"]}
    assert found.pop("buffer") == "legendonly"
    assert set(found.values()) == {True}
    entries = [trace["name"] for trace in spec["data"] if trace.get("showlegend", True)]
    assert entries == ["weight", "bias", "scale", "buffer"]


def test_the_hover_text_has_all_facts():
    trace = next(t for t in tensors_by_depth.spec(anatomy(network()))["data"] if "text" in t)
    text = trace["text"][0]
    assert text.startswith("<b>0.0.weight</b>")
    for word in ("kind weight", "shape 3x3x3x3", "count 81", "bytes 324", "effective rank "):
        assert word in text
    assert "used rank" not in text


@pytest.mark.parametrize("source", [nn.Identity(), nn.Linear(2, 3), nn.LSTM(3, 4)])
def test_small_and_empty_networks(source):
    check(tensors_by_depth.spec(anatomy(source)))


def test_changes_of_tensors_and_of_layers():
    found = compare(network(0), network(1))
    relative, angle, flipped, shift = panels(check(changes_by_depth.spec(found)))
    for change in found:
        _, y, symbol = relative[change.name]
        if change.relative == 0:
            assert symbol == "x"
        elif np.isfinite(change.relative):
            assert (y, symbol) == (change.relative, "circle")
        assert flipped[change.name][1] == change.flipped
        assert shift[change.name][1] == change.shift
    assert angle["0.0.weight"][1] == pytest.approx(np.degrees(np.arccos(found[0].cosine)))
    layers = panels(check(changes_by_depth.spec(found.layers)))
    assert list(layers[0]) == [str(layer) for layer in range(12)]


# --- one tensor of any size --------------------------------------------------------------


def edges(spec) -> dict[tuple[int, int], float]:
    """What hovering tells: (from, to) -> weight."""
    return {(int(a), int(b)): value for _, a, b, value in spec["data"][-2]["customdata"]}


def test_a_diagram_shows_the_strongest_weight_of_each_kernel():
    kernels = np.random.default_rng(0).normal(size=(5, 3, 3, 3))
    found = edges(check(tensor_diagram.spec(kernels, name="w")))
    assert len(found) == 15
    for (source, to), value in found.items():
        kernel = kernels[to, source]
        assert abs(value) == np.abs(kernel).max()
        assert value in kernel


def test_of_many_units_a_diagram_shows_the_strongest_by_their_own_numbers():
    matrix = np.random.default_rng(1).normal(size=(100, 60)) * 0.01
    matrix[[7, 90], 41] = 5.0, -6.0
    spec = check(tensor_diagram.spec(matrix, name="w"))
    found = edges(spec)
    assert len(found) == 48
    assert (found[41, 7], found[41, 90]) == (5.0, -6.0)
    assert all(value == matrix[to, source] for (source, to), value in found.items())
    assert [note["text"] for note in spec["layout"]["annotations"]] == [
        "from 16 of 60 units",
        "to 16 of 100 units",
    ]
    assert "strongest units" in spec["layout"]["xaxis"]["title"]["text"]


@pytest.mark.parametrize("shape", [(4,), (1, 1), (3, 2, 5)])
def test_diagrams_of_odd_shapes(shape):
    check(tensor_diagram.spec(np.ones(shape)))


def test_outermost_bars_count_what_lies_beyond():
    values = np.random.default_rng(3).normal(size=20_000)
    values[:10] = 1000.0
    trace = check(tensor_distribution.spec(values, values / 2, beyond=0.01))
    bars, outline = trace["data"]
    assert bars["y"].sum() == len(values)
    assert outline["y"][:-1].sum() == len(values)
    low, high = trace["layout"]["xaxis"]["range"]
    assert -5 < low < -2
    assert 2 < high < 5
    assert bars["y"][-1] == (values >= high - (high - low) / 40).sum()
    assert "beyond" in trace["layout"]["xaxis"]["title"]["text"]
    calm = tensor_distribution.spec(values[10:], beyond=0.01)
    assert calm["layout"] == tensor_distribution.spec(values[10:])["layout"]
