"""Signals by depth: what passes through a network, layer by layer, at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, decades, extent, figure, limits, positive

BINS = 61  # odd, so that a bin lies around zero
LINEAR = 1000.0  # with values beyond this, the axis is logarithmic on both sides of zero
ROOM = 2.0  # decades that an axis of sizes shows at least: a flat line must look flat


@figure
def distribution_by_depth(
    layers: Mapping[str, np.ndarray], *, what: str = "activation", height: int = theme.HEIGHT
) -> Spec:
    """How the numbers of each layer are distributed: one shape per layer, from left to right.

    A shape is as wide as the square root of the share of numbers at that height, so that
    the rest stays visible beside a spike (half of a ReLU's outputs are 0). Where all
    numbers of a layer are the same, its shape is a flat dash. Once numbers pass `LINEAR`,
    the axis shows sign(v)·log10(1 + |v|), labelled with v.

    Args:
        layers: the numbers of each layer, of any shape, by name, from input to output.
            Those that are not finite are not counted; the hover text gives their share.
        what: name of the numbers, in the singular, for the axis.
        height: of the figure, in pixels.
    """
    values = {name: np.ravel(np.asarray(array)) for name, array in layers.items()}
    finite = {name: array[np.isfinite(array)].astype(np.float64) for name, array in values.items()}
    low, high = extent(*finite.values()) or (0.0, 0.0)
    signed = max(-low, high) > LINEAR
    shown = {name: _signed(array) if signed else array for name, array in finite.items()}
    bottom, top = _padded(limits(*shown.values()))
    edges = np.linspace(bottom, top, BINS + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    data = []
    for place, (name, color) in enumerate(zip(values, theme.depth(len(values)), strict=True)):
        counts = np.histogram(shown[name], edges)[0]
        x, y = _outline(place + 1, counts, middles)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": x,
                "y": y,
                "fill": "toself",
                "fillcolor": theme.rgba(color, 0.45),
                "line": {"color": color, "width": 1.2},
                "hoveron": "points+fills",
                "text": f"{name}: {_words(values[name], finite[name])}",
                "hoverinfo": "text",
            }
        )
    layout = theme.layout(f"Distribution of every layer's {what}s", legend=False, height=height)
    layout["xaxis"] = _layer_axis(list(values))
    layout["yaxis"] = axis(what, [bottom, top], zeroline=True, **_signed_ticks(bottom, top, signed))
    return {"data": data, "layout": layout}


@figure
def sizes_by_depth(
    lines: Mapping[str, Sequence[float] | np.ndarray],
    *,
    layers: Sequence[str] = (),
    before: Mapping[str, Sequence[float] | np.ndarray] | None = None,
    dashed: Mapping[str, Sequence[float] | np.ndarray] | None = None,
    size: str = "standard deviation",
    height: int = theme.HEIGHT,
) -> Spec:
    """Sizes of a signal by layer, on a log axis: a straight line is a constant factor per layer.

    A size of exactly zero, which no log axis can show, is a cross at the lower edge; one
    that is not finite a triangle at the upper edge.

    Args:
        lines: one number per layer, from input to output, by the name of the line.
        layers: the layers' names; by default they are numbered.
        before: earlier numbers of the same lines, thin and dotted.
        dashed: numbers to compare with, such as those of a formula.
        size: what the numbers are, for the axis.
        height: of the figure, in pixels.
    """
    numbered = _numbered({**lines, **{f"{name} before": y for name, y in (before or {}).items()}})
    layers = [*layers, *numbered[len(layers) :]]  # the earlier network may be deeper
    place = np.arange(1, len(layers) + 1, dtype=np.float64)
    colors = dict(zip(lines, theme.CATEGORIES * (1 + len(lines) // 8), strict=False))
    styles: list[tuple[str, Any, dict[str, Any], str]] = [
        (name, sizes, {"color": colors[name], "width": 1.5, "dash": "dot"}, "lines")
        for name, sizes in (before or {}).items()
    ]
    styles += [
        (name, sizes, {"color": theme.INK, "width": 1.5, "dash": "dash"}, "lines")
        for name, sizes in (dashed or {}).items()
    ]
    styles += [
        (name, sizes, {"color": colors[name], "width": 2.5}, "lines+markers")
        for name, sizes in lines.items()
    ]
    arrays = [np.asarray(sizes, np.float64) for _, sizes, _, _ in styles]
    low, high = _room(decades(*(positive(array) for array in arrays)))
    edges = low + 0.03 * (high - low), high - 0.03 * (high - low)
    data: list[dict[str, Any]] = []
    for (name, _, line, mode), sizes in zip(styles, arrays, strict=True):
        earlier = line.get("dash") == "dot"
        data.append(
            {
                "type": "scatter",
                "mode": mode,
                "name": name,
                "legendgroup": name,
                "showlegend": not earlier,
                "x": place[: len(sizes)],
                "y": positive(sizes),
                "line": line,
                "marker": {"size": 7, "color": line["color"]},
                "hovertemplate": f"{name}{' before' if earlier else ''}, "
                "layer %{x}: %{y:.4g}<extra></extra>",
            }
        )
    current = arrays[len(arrays) - len(lines) :]
    for words, symbol, edge, chosen in (
        ("exactly 0", "x", edges[0], lambda sizes: sizes == 0),
        ("not finite", "triangle-up", edges[1], lambda sizes: ~np.isfinite(sizes)),
    ):
        # Side by side, so that no mark hides another.
        shift = 0.14 * (np.arange(len(current)) - (len(current) - 1) / 2)
        marked = zip(current, shift, strict=True)
        where = np.concatenate([place[: len(a)][chosen(a)] + s for a, s in marked] or [place[:0]])
        inks = [c for c, a in zip(colors.values(), current, strict=True) for _ in a[chosen(a)]]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": words,
                "x": where,
                "y": np.full(len(where), 10.0**edge),
                "showlegend": len(where) > 0,
                "marker": {"size": 10, "symbol": symbol, "color": inks},
                "hovertemplate": f"layer %{{x:.0f}}: {words}<extra></extra>",
            }
        )
    layout = theme.layout(f"{size} by layer: {', '.join(lines)}", height=height)
    layout["xaxis"] = _layer_axis(layers)
    layout["yaxis"] = log_axis(size, [low, high])
    return {"data": data, "layout": layout}


@figure
def shares_by_depth(
    bars: Mapping[str, Sequence[float] | np.ndarray], *, share: str, layers: Sequence[str] = ()
) -> Spec:
    """A share (0 to 1) of each layer as bars in per cent, groups side by side.

    Args:
        bars: one share per layer, from input to output, by the name of the group.
        share: what it is a share of, for the axis.
        layers: the layers' names; by default they are numbered.
    """
    layers = layers or _numbered(bars)
    place = np.arange(1, len(layers) + 1, dtype=np.float64)
    data = [
        {
            "type": "bar",
            "name": name,
            "x": place,
            "y": 100 * np.asarray(shares, np.float64),
            "marker": {"color": color},
            "hovertemplate": f"{name}, layer %{{x}}: %{{y:.1f}} %<extra></extra>",
        }
        for (name, shares), color in zip(bars.items(), theme.CATEGORIES, strict=False)
    ]
    layout = theme.layout(f"{share} by layer") | {"bargap": 0.3}
    layout["xaxis"] = _layer_axis(layers)
    layout["yaxis"] = axis(
        share,
        [0, 103],
        tickvals=[0, 25, 50, 75, 100],
        ticktext=["0 %", "25 %", "50 %", "75 %", "100 %"],
    )
    return {"data": data, "layout": layout}


@figure
def spread_by_fan_in(
    fan_ins: Sequence[int], measured: Mapping[str, np.ndarray], formula: Mapping[str, np.ndarray]
) -> Spec:
    """The std of a unit's sum against the number of its inputs, on log axes.

    Args:
        fan_ins: numbers of inputs.
        measured: stds, as points, by name.
        formula: what is expected, as dashed lines, by name.
    """
    x = np.asarray(fan_ins, np.float64)
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": positive(y),
            "line": {"color": theme.INK, "width": 1.5, "dash": "dash"},
            "hovertemplate": f"{name}<br>fan_in %{{x}}: %{{y:.4g}}<extra></extra>",
        }
        for name, y in formula.items()
    ]
    data += [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": x,
            "y": positive(y),
            "marker": {"color": color, "size": 9},
            "hovertemplate": f"{name}<br>fan_in %{{x}}: %{{y:.4g}}<extra></extra>",
        }
        for (name, y), color in zip(measured.items(), theme.CATEGORIES, strict=False)
    ]
    layout = theme.layout("Spread of a sum by the number of its terms")
    layout["xaxis"] = log_axis("fan_in (inputs of the unit)", _margin(decades(x)))
    sizes = [positive(y) for y in (*measured.values(), *formula.values())]
    layout["yaxis"] = log_axis("std of the sum", _room(_margin(decades(*sizes))))
    return {"data": data, "layout": layout}


# --- axes ----------------------------------------------------------------------------------


def _numbered(lines: Mapping[str, Sequence[float] | np.ndarray]) -> list[str]:
    return [f"layer{k + 1}" for k in range(max(map(len, lines.values()), default=0))]


def _layer_axis(layers: Sequence[str]) -> dict[str, Any]:
    """Numbers of the layers; names such as `output` are written out, `layer7` is 7."""
    labels = [name.removeprefix("layer") if name[5:].isdigit() else name for name in layers]
    count = max(1, len(layers))
    return axis(
        "layer, from input to output",
        [0.4, count + 0.6],
        tickvals=list(range(1, len(layers) + 1)),
        ticktext=labels,
        showgrid=False,
    )


def _room(span: Sequence[float]) -> list[float]:
    """Log limits no nearer than ROOM decades, with the same middle."""
    low, high = span
    missing = max(0.0, ROOM - (high - low)) / 2
    return [low - missing, high + missing] if missing else _margin(span)


def _margin(span: Sequence[float]) -> list[float]:
    extra = 0.06 * (span[1] - span[0])
    return [span[0] - extra, span[1] + extra]


def _padded(span: Sequence[float]) -> tuple[float, float]:
    extra = 0.04 * (span[1] - span[0])
    return span[0] - extra, span[1] + extra


def _signed(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log10(1 + np.abs(values))


def _signed_ticks(low: float, high: float, signed: bool) -> dict[str, Any]:
    """Labels of a signed-log axis: 0 and powers of ten, at most five on a side."""
    if not signed:
        return {}
    every = math.ceil(max(-low, high) / 5)
    powers = list(range(every, math.floor(max(-low, high)) + 1, every))
    ticks = [(math.log10(1 + 10.0**k), f"10<sup>{k}</sup>") for k in powers]
    ticks = [(-at, f"−{label}") for at, label in reversed(ticks)] + [(0.0, "0"), *ticks]
    inside = [(at, label) for at, label in ticks if low <= at <= high]
    return {"tickvals": [at for at, _ in inside], "ticktext": [label for _, label in inside]}


def _outline(place: int, counts: np.ndarray, middles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The closed outline of a layer's shape around `place`; empty where nothing was counted."""
    filled = np.flatnonzero(counts)
    if not len(filled):
        return np.array([float(place)]), np.array([np.nan])
    part = slice(filled[0], filled[-1] + 1)
    half = 0.42 * np.sqrt(counts[part] / counts.max())
    step = middles[1] - middles[0]
    # Steps, not slopes: a layer whose numbers are all equal is a dash of one bin's height.
    rows = np.stack([middles[part] - step / 2, middles[part] + step / 2], axis=1).ravel()
    half = np.repeat(half, 2)
    x = np.concatenate([place - half, (place + half)[::-1]])
    y = np.concatenate([rows, rows[::-1]])
    return np.append(x, x[0]), np.append(y, y[0])


def _words(values: np.ndarray, finite: np.ndarray) -> str:
    if not len(finite):
        return "no finite number"
    with np.errstate(over="ignore"):
        parts = [f"mean {finite.mean():.3g}", f"std {finite.std():.3g}"]
    parts.append(f"from {finite.min():.3g} to {finite.max():.3g}")
    zeros = (finite == 0).mean()
    if zeros:
        parts.append(f"{zeros:.0%} exactly 0")
    if len(finite) < len(values):
        parts.append(f"{1 - len(finite) / len(values):.0%} not finite")
    return ", ".join(parts)
