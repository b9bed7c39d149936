"""The network as nodes and edges: sign by colour, magnitude by width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, bound, figure

if TYPE_CHECKING:
    from labkit.training.layout import Layout

EDGES = 200  # of more edges, the strongest of each layer are shown
UNITS = 16  # of more units on a side of one tensor, the strongest are shown
# The share of the largest magnitude at which a line becomes wider, its width and opacity.
WIDTHS = ((0.0, 0.6, 0.35), (0.12, 1.3, 0.55), (0.25, 2.3, 0.75), (0.45, 3.6, 0.9), (0.7, 5.0, 1.0))


@dataclass(frozen=True)
class _Plan:
    """Where nodes and edges of a layout lie; the same for every frame."""

    weights: tuple[str, ...]
    biases: tuple[str | None, ...]
    sizes: tuple[int, ...]
    node_x: np.ndarray
    node_y: np.ndarray
    ends: np.ndarray  # (edges, 4): x0, y0, x1, y1
    facts: np.ndarray  # (edges, 3): layer, from, to
    first: np.ndarray  # (layers + 1,): where each layer's edges begin


@lru_cache(maxsize=32)
def _plan(tensors: tuple[str, ...], of_shape: tuple[tuple[int, ...], ...]) -> _Plan:
    shape = dict(zip(tensors, of_shape, strict=True))
    names = [name for name in tensors if len(shape[name]) == 2]
    shapes = [shape[name] for name in names]
    if not names or any(a[0] != b[1] for a, b in pairwise(shapes)):
        raise ValueError("the weight matrices of this network form no chain: it has no diagram")
    sizes = (shapes[0][1], *(shape[0] for shape in shapes))
    places = [_spread(size) for size in sizes]
    node_x = np.repeat(np.arange(len(sizes)), sizes).astype(np.float64)
    ends, facts = [], []
    for k, (out, into) in enumerate(shapes):
        to, source = (grid.ravel() for grid in np.mgrid[:out, :into])
        column = np.full(len(to), float(k))
        ends.append(np.stack([column, places[k][source], column + 1, places[k + 1][to]], axis=1))
        facts.append(np.stack([column + 1, source, to], axis=1))
    first = np.cumsum([0, *(len(part) for part in ends)])
    biases = tuple(_bias(shape, name) for name in names)
    return _Plan(
        tuple(names), biases, sizes, node_x, np.concatenate(places),
        np.concatenate(ends), np.concatenate(facts), first,
    )  # fmt: skip


def _spread(size: int) -> np.ndarray:
    """Heights of a column's nodes, the first on top: few nodes do not fill the height."""
    reach = min(1.0, 0.22 * (size - 1)) if size > 1 else 0.0
    return np.linspace(reach, -reach, size)


def _bias(shape: Mapping[str, tuple[int, ...]], weight: str) -> str | None:
    name = weight.removesuffix("weight") + "bias"
    return name if shape.get(name) == shape[weight][:1] else None


@figure
def network_diagram(
    layout: Layout,
    weights: Mapping[str, np.ndarray],
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Spec:
    """Nodes and edges of a chain of fully connected layers.

    An edge is blue where its weight is positive and orange where it is negative, and wider
    where the weight is larger; a node's colour is its bias. Of more than `EDGES` edges only
    the strongest of each layer are drawn, and the picture says so.

    Args:
        layout: the tensors' names and shapes (`history.layout`).
        weights: named arrays (`history.weights()`).
        inputs, outputs: names of the first and the last units.

    Raises:
        ValueError: the matrices do not form a chain.
    """
    plan = _plan(layout.names, layout.shapes)
    return _diagram(plan, weights, inputs, outputs)


def _diagram(
    plan: _Plan,
    weights: Mapping[str, np.ndarray],
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    most: int = EDGES,
) -> Spec:
    values = np.concatenate([np.ravel(weights[name]) for name in plan.weights])
    total = len(values)
    with np.errstate(invalid="ignore"):
        size = np.where(np.isfinite(values), np.abs(values), 0.0)
    chosen = _strongest(size, plan, most) if total > most else np.arange(total)
    values, size = values[chosen], size[chosen]
    largest = bound(size)
    data = _edges(values, size / largest, plan.ends[chosen])
    data += [_hover(values, plan, chosen), _nodes(weights, plan)]
    layout = theme.layout("Network diagram")
    high = len(plan.sizes) - 1
    side = 0.09 * high
    few = f"the {len(chosen):,} strongest of {total:,} edges; " if len(chosen) < total else ""
    words = f"{few}widest line: |weight| ≥ {WIDTHS[-1][0] * largest:.4g}"
    layout["xaxis"] = _blank([-side, high + side], words)
    layout["yaxis"] = _blank([-1.28, 1.1])
    layout["margin"] = {"l": 48, "r": 64, "t": 36, "b": 32}
    layout["annotations"] = _labels(plan, inputs, outputs)
    return {"data": data, "layout": layout}


@figure
def tensor_diagram(values: np.ndarray, *, name: str = "weight") -> Spec:
    """The strongest part of one tensor as nodes and edges, as `network_diagram` draws a layer.

    Of more than `UNITS` units on a side, those with the largest norms are shown. A
    convolution's edge stands for a kernel and shows its strongest weight.

    Args:
        values: `(to, from, ...)`; a vector leads from one unit.
        name: the tensor's name.
    """
    values = np.nan_to_num(np.asarray(values, np.float64), posinf=0, neginf=0)
    if not values.size:  # two units, nothing between them
        values = np.zeros((1, 1))
    kernels = values.reshape(*(*values.shape, 1, 1)[:2], -1)
    norms = np.sqrt(np.vecdot(kernels, kernels))
    to, source = (_largest(np.linalg.norm(norms, axis=side)) for side in (1, 0))
    kernels = kernels[np.ix_(to, source)]
    strongest = np.abs(kernels).argmax(axis=2, keepdims=True)
    edges = np.take_along_axis(kernels, strongest, axis=2)[:, :, 0]
    spec = _diagram(_plan((name,), (edges.shape,)), {name: edges}, most=3 * UNITS)
    hover, nodes = spec["data"][-2:]
    column = hover["customdata"]  # the numbers that units have in the tensor
    column[:, 1], column[:, 2] = source[column[:, 1].astype(int)], to[column[:, 2].astype(int)]
    hover["hovertemplate"] = (
        "from %{customdata[1]} to %{customdata[2]}<br>%{customdata[3]:.6g}<extra></extra>"
    )
    nodes["customdata"][:, 0] = np.concatenate([source, to])
    nodes["hovertemplate"] = "unit %{customdata[0]}<extra></extra>"
    if edges.shape != norms.shape:
        title = spec["layout"]["xaxis"]["title"]
        title["text"] = f"between the strongest units: {title['text']}"
    sides = ((source, norms.shape[1]), (to, norms.shape[0]))
    notes = spec["layout"]["annotations"]
    for note, word, (shown, count) in zip(notes, ("from", "to"), sides, strict=True):
        few = f"{len(shown)} of " if len(shown) < count else ""
        note["text"] = f"{word} {few}{count} {'unit' if count == 1 else 'units'}"
    return spec


def _largest(norms: np.ndarray) -> np.ndarray:
    """The units with the largest norms, in order."""
    return np.sort(np.argsort(-norms, kind="stable")[:UNITS])


def _strongest(size: np.ndarray, plan: _Plan, most: int) -> np.ndarray:
    """Indices of each layer's strongest edges: every layer has the same share of `most`."""
    share = most // len(plan.weights)
    parts = []
    for low, high in pairwise(plan.first):
        count = min(share, high - low)
        parts.append(low + np.argpartition(size[low:high], high - low - count)[-count:])
    return np.concatenate(parts)


def _edges(values: np.ndarray, share: np.ndarray, ends: np.ndarray) -> list[dict[str, Any]]:
    """One trace for each sign and width, thin ones first: always `2 * len(WIDTHS)`."""
    bucket = np.searchsorted([low for low, _, _ in WIDTHS[1:]], share, side="right")
    finite = np.isfinite(values)
    above, below = finite & (values > 0), finite & (values < 0)  # a zero weight has no edge
    data = []
    for number, (_, width, alpha) in enumerate(WIDTHS):
        for sign, color, mask in (
            ("positive", theme.POSITIVE, above),
            ("negative", theme.NEGATIVE, below),
        ):
            part = ends[mask & (bucket == number)]
            path = np.full((max(1, len(part)), 3, 2), np.nan)
            path[: len(part), 0], path[: len(part), 1] = part[:, :2], part[:, 2:]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"{sign} weight",
                    "legendgroup": sign,
                    "showlegend": number == 2,
                    "x": path[:, :, 0].ravel(),
                    "y": path[:, :, 1].ravel(),
                    "line": {"color": theme.rgba(color, alpha), "width": width},
                    "hoverinfo": "skip",
                }
            )
    return data


def _hover(values: np.ndarray, plan: _Plan, chosen: np.ndarray) -> dict[str, Any]:
    """An invisible point on each edge, to hover for its weight; no two edges share a point."""
    ends, facts = plan.ends[chosen], plan.facts[chosen]
    width = np.array(plan.sizes[1:])[facts[:, 0].astype(int) - 1]
    at = 0.3 + 0.4 * (facts[:, 2] + 0.5) / width
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "weights",
        "showlegend": False,
        "x": ends[:, 0] + at * (ends[:, 2] - ends[:, 0]),
        "y": ends[:, 1] + at * (ends[:, 3] - ends[:, 1]),
        "customdata": np.column_stack([facts, values]),
        "marker": {"size": 6, "opacity": 0, "color": theme.INK},
        "hovertemplate": "layer %{customdata[0]}: from %{customdata[1]} to %{customdata[2]}<br>"
        "weight %{customdata[3]:.6g}<extra></extra>",
    }


def _nodes(weights: Mapping[str, np.ndarray], plan: _Plan) -> dict[str, Any]:
    parts = [np.zeros(plan.sizes[0])]
    for name, size in zip(plan.biases, plan.sizes[1:], strict=True):
        parts.append(np.zeros(size) if name is None else np.asarray(weights[name], np.float64))
    biases = np.nan_to_num(np.concatenate(parts), nan=0.0, posinf=0.0, neginf=0.0)
    largest = bound(biases)
    units = np.concatenate([np.arange(size) for size in plan.sizes])
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "units",
        "showlegend": False,
        "x": plan.node_x,
        "y": plan.node_y,
        "customdata": np.column_stack([units, biases]),
        "marker": {
            "opacity": 1,
            "size": np.repeat([_diameter(size) for size in plan.sizes], plan.sizes),
            "color": biases,
            "cmin": -largest,
            "cmax": largest,
            "colorscale": _SOLID,
            "line": {"color": theme.INK, "width": 1},
        },
        "hovertemplate": "unit %{customdata[0]}: bias %{customdata[1]:.6g}<extra></extra>",
    }


# Nodes cover the edges' ends, so their colours are opaque.
_SOLID = [[0.0, theme.NEGATIVE], [0.5, "#C8C8C8"], [1.0, theme.POSITIVE]]


def _diameter(size: int) -> float:
    return float(np.clip(240 / size, 4, 18))


def _blank(span: list[float], title: str = "") -> dict[str, Any]:
    return axis(title, span, showgrid=False, showticklabels=False, ticks="", fixedrange=True)


def _labels(plan: _Plan, inputs: Sequence[str], outputs: Sequence[str]) -> list[dict[str, Any]]:
    notes = []
    last = len(plan.sizes) - 1
    ends = ((0, inputs, "right", -14), (last, outputs, "left", 14))
    for column, words, anchor, shift in ends:
        if words and len(words) == plan.sizes[column] <= 12:
            heights = _spread(plan.sizes[column])
            notes += [
                _note(column, float(height), word, xanchor=anchor, xshift=shift)
                for word, height in zip(words, heights, strict=True)
            ]
    for column, size in enumerate(plan.sizes):
        layer = plan.weights[column - 1].removesuffix(".weight") if column else "input"
        notes.append(_note(column, -1.2, f"{layer} ({size})"))
    return notes


def _note(x: float, y: float, text: str, **more: Any) -> dict[str, Any]:
    note = {"x": x, "y": y, "text": text, "showarrow": False, "font": {"size": 12}}
    return note | {"xanchor": "center", "yanchor": "middle"} | more
