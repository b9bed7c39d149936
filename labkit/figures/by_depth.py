"""Tensors in order of depth: a dot for each tensor, a panel for each number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.core.table import show
from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, figure
from labkit.figures.overview import as_number, places, span_of

PANEL, BETWEEN = 96, 16  # pixels
APART = 0.03  # share of the width: of layer names closer than this, one is left out


@figure
def by_depth(
    rows: Sequence[Mapping[str, Any]],
    panels: Mapping[str, str],
    *,
    label: str,
    layers: Sequence[str],
    log: Sequence[str] = (),
    hidden: Sequence[str] = (),
    shares: Sequence[str] = (),
    no_hover: Sequence[str] = (),
) -> Spec:
    """A table of tensors, from the first layer to the last: a dot per tensor in every panel.

    Tensors of one module share a place, and modules of one layer lie between two lines. A
    colour stands for a kind of tensor. On a log panel a zero is a cross at the lower edge;
    what is not finite is left out. Hovering over a dot shows the whole row.

    Args:
        rows: the table, in order of depth; its column `kind` chooses the colour.
        panels: which of its columns to show, and the title of each.
        label: the column that names the tensor.
        layers: the layer of each row.
        log: the columns on a log axis.
        hidden: kinds that are not shown until their name in the legend is clicked.
        shares: the columns from 0 to 1.
        no_hover: the columns that the hover text leaves out.
    """
    names = [str(row[label]) for row in rows]
    modules = [name.rpartition(".")[0] or name for name in names]
    order = list(dict.fromkeys(zip(layers, modules, strict=True)))
    order.sort(key=lambda pair: list(dict.fromkeys(layers)).index(pair[0]))
    place = {pair: x for x, pair in enumerate(order)}
    x = np.array([place[pair] for pair in zip(layers, modules, strict=True)], np.float64)
    kinds = list(dict.fromkeys(str(row.get("kind", "")) for row in rows))
    hovers = [_hover({k: v for k, v in row.items() if k not in no_hover}) for row in rows]
    count = len(panels)
    height = 30 + 52 + count * PANEL + (count - 1) * BETWEEN
    layout = theme.layout(", ".join(panels.values()), height=height, legend=len(kinds) > 1)
    layout["margin"] = {**theme.MARGIN, "t": 34, "b": 48, "l": 84}
    inner = count * PANEL + (count - 1) * BETWEEN
    layout["legend"] = {**theme.LEGEND, "y": 1 + 6 / inner}
    ticks, words, between = _layers(order)
    span = [-0.8, len(order) - 0.2]
    colors = dict(zip(kinds, theme.CATEGORIES, strict=False))
    data = [_legend(which, color, which in hidden) for which, color in colors.items()]
    for k, (column, title) in enumerate(panels.items()):
        suffix = "" if k == 0 else str(k + 1)
        top = 1 - k * (PANEL + BETWEEN) / inner
        values = np.array([as_number(row.get(column)) for row in rows])
        ends, y_axis = _scale(title, values, log=column in log, share=column in shares)
        bottom = k == count - 1
        layout[f"yaxis{suffix}"] = {
            **y_axis,
            "domain": [max(0.0, top - PANEL / inner), top],
            "anchor": f"x{suffix}",
            "title": {"text": title, "standoff": 6, "font": {"size": 11}},
        }
        layout[f"xaxis{suffix}"] = axis(
            "layer, from the first to the last" if bottom else "",
            span,
            anchor=f"y{suffix}",
            matches=None if k == 0 else "x",
            tickvals=ticks,
            ticktext=words,
            tickangle=0,
            ticks="outside" if bottom else "",
            showticklabels=bottom,
            showgrid=False,
        )
        for which, color in colors.items():
            mine = [i for i, row in enumerate(rows) if str(row.get("kind", "")) == which]
            y, symbols = places(values[mine], ends, column in log)
            shown = np.isfinite(values[mine])
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": which,
                    "legendgroup": which,
                    "showlegend": False,
                    "visible": "legendonly" if which in hidden else True,
                    "x": x[mine],
                    "y": np.where(shown, y, np.nan),
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                    "cliponaxis": False,
                    "marker": {"color": color, "size": 6, "symbol": symbols, "opacity": 0.8},
                    "customdata": [names[i] for i in mine],
                    "text": [hovers[i] for i in mine],
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    line = {"color": theme.GRID, "width": 1}
    shapes = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1}
        | {"line": line, "layer": "below"}
        for at in between
    ]
    return {"data": data, "layout": layout | {"shapes": shapes, "hoverdistance": 12}}


def _legend(name: str, color: str, hidden: bool) -> dict[str, Any]:
    """An entry of the legend: a circle, even where the first tensor is a cross."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "visible": "legendonly" if hidden else True,
        "x": [None],
        "y": [None],
        "marker": {"color": color, "size": 8},
        "hoverinfo": "skip",
    }


def _hover(row: Mapping[str, Any]) -> str:
    """All facts of a row, a line each; the first is its name."""
    facts = [f"{key} {show(value)}" for key, value in row.items() if value != ""]
    first = next(iter(row.values()), "")
    return "<br>".join([f"<b>{first}</b>", *facts[1:]])


def _scale(
    title: str, values: np.ndarray, *, log: bool, share: bool
) -> tuple[Sequence[float], dict[str, Any]]:
    if share:
        ends = [-0.06, 1.06]
        return ends, axis(title, ends, tickvals=[0, 0.5, 1])
    ends = span_of(values, log)
    if not log:
        return ends, axis(title, ends, nticks=4)
    made = log_axis(title, ends)
    every = math.ceil(len(made["tickvals"]) / 4)
    return ends, made | {key: made[key][::every] for key in ("tickvals", "ticktext")}


def _layers(order: Sequence[tuple[str, str]]) -> tuple[list[float], list[str], list[float]]:
    """Where layers are named, how, and where one ends and the next begins."""
    where: dict[str, list[int]] = {}
    for x, (layer, _) in enumerate(order):
        where.setdefault(layer, []).append(x)
    between = [found[0] - 0.5 for found in where.values()][1:]
    stem = _stem(list(where))
    ticks: list[float] = []
    words: list[str] = []
    for layer, found in where.items():
        middle = (found[0] + found[-1]) / 2
        if not ticks or middle - ticks[-1] >= APART * len(order):
            ticks.append(middle)
            words.append(layer.removeprefix(stem) or layer)
    return ticks, words, between


def _stem(names: Sequence[str]) -> str:
    """What all names begin with, up to a dot: `model.` of `model.0`, `model.1`."""
    first = names[0].split(".") if names else []
    shared = 0
    while all(name.split(".")[: shared + 1] == first[: shared + 1] for name in names):
        shared += 1
        if shared >= len(first):
            return ""
    return "".join(f"{part}." for part in first[:shared])
