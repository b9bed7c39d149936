"""A tensor before and after it is rounded to a quantization grid, and the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, limits

if TYPE_CHECKING:
    from labkit.quantize.grid import Grid

BINS = 80
LEVELS = 300  # more of them than this are shown as a histogram of their own
SNAPS = 40  # values that are joined to their level by a line
ERRORS = 1500  # values whose error is drawn


@figure
def number_grid(grid: Grid, *, channel: int = 0, name: str = "", height: int = 460) -> Spec:
    """Three rows over one axis of values: histograms, some values and their levels, the error.

    Histograms are densities (share of the values per unit), so that one of bins and one of
    levels, each as wide as its part of the axis, can be compared. Where every channel has a
    grid of its own, one channel is shown.

    Args:
        grid: from `labkit.quantize.grid`.
        channel: which one to show, if every channel has a grid of its own.
        name: of the tensor, for the axis.
        height: in pixels.
    """
    values, rounded, where = _of(grid, channel)
    own = channel if len(grid.scale) > 1 else 0
    levels = np.asarray(grid.levels(own), np.float64)
    step = float(grid.scale[own]) if isinstance(grid.bits, int) else 0.0
    span = limits(values, rounded[np.isfinite(rounded)])
    if len(levels) <= LEVELS:  # the outermost levels are part of the picture
        span = limits(values, levels)
    data = [
        _histogram(values),
        _rounded_histogram(values, rounded, step),
        _ticks(levels, span),
        *_snaps(values, rounded),
        _errors(values, rounded),
    ]
    layout = theme.layout(f"{name or 'values'} on a grid of {grid.bits} bits", height=height)
    title = f"{name or 'value'}{where}"
    layout["xaxis"] = axis(title, span, anchor="y3")
    layout["yaxis"] = axis("density", domain=[0.56, 1.0], rangemode="tozero")
    layout["yaxis2"] = axis(
        "", [-0.15, 1.15], domain=[0.38, 0.53], anchor="x", showgrid=False,
        tickvals=[1, 0], ticktext=["before", "after"], ticks="",
    )  # fmt: skip
    worst = float(np.abs(data[-1]["y"]).max(initial=0.0)) or 1.0
    layout["yaxis3"] = axis(
        "error", [-1.15 * worst, 1.15 * worst], domain=[0.0, 0.33], anchor="x", zeroline=True
    )
    return {"data": data, "layout": layout}


def _of(grid: Grid, channel: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Values before and after, flat, and words that name their channel."""
    before, after = (np.asarray(one, np.float64) for one in (grid.tensor, grid.dequantized))
    count = len(grid.scale)
    if grid.scheme.per == "tensor":
        return before.ravel(), after.ravel(), ""
    place = grid.scheme.axis
    before, after = (np.take(one, channel, place).ravel() for one in (before, after))
    return before, after, f", channel {channel} of {count}"


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of bins over all values: fewer bins for few values, so that a bin holds several."""
    low, high = values.min(), values.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # constant
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    return np.linspace(low, high, int(np.clip(2.5 * len(values) ** 0.5, 4, BINS)) + 1)


def _histogram(values: np.ndarray) -> dict[str, Any]:
    density, edges = np.histogram(values, _edges(values), density=True)
    return {
        "type": "bar",
        "name": "before",
        "x": (edges[:-1] + edges[1:]) / 2,
        "y": density,
        "width": np.diff(edges),
        "marker": {"color": theme.rgba(theme.POSITIVE, 0.45), "line": {"width": 0}},
        "hovertemplate": "around %{x:.4g}: density %{y:.4g}<extra>before</extra>",
    }


def _rounded_histogram(values: np.ndarray, rounded: np.ndarray, step: float) -> dict[str, Any]:
    """A stem at every level that is used, as high as the density of the values around it.

    Where levels are closer than bins are wide, or not even (`step` is 0), bins as before.
    """
    rounded = rounded[np.isfinite(rounded)]
    edges = _edges(values)
    x, counts = np.unique(rounded, return_counts=True)
    if step > edges[1] - edges[0]:
        y = counts / counts.sum() / step
    else:
        counts, _ = np.histogram(rounded, edges)
        y = counts / max(len(rounded), 1) / np.diff(edges)
        x = (edges[:-1] + edges[1:]) / 2
    gaps = np.full(len(x), np.nan)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "after",
        "x": np.stack([x, x, gaps], 1).ravel(),
        "y": np.stack([np.zeros(len(x)), y, gaps], 1).ravel(),
        "line": {"color": theme.NEGATIVE, "width": 2},
        "marker": {"color": theme.NEGATIVE, "size": np.tile([0, 5, 0], len(x))},
        "hovertemplate": "%{x:.5g}: density %{y:.4g}<extra>after</extra>",
    }


def _ticks(levels: np.ndarray, span: list[float]) -> dict[str, Any]:
    inside = levels[(levels >= span[0]) & (levels <= span[1])]
    shown = inside if len(inside) <= LEVELS else inside[:0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "levels",
        "yaxis": "y2",
        "x": shown,
        "y": np.zeros(len(shown)),
        "marker": {
            "symbol": "line-ns",
            "size": 9,
            "line": {"color": theme.INK, "width": 1.5 if len(shown) < 80 else 0.6},
        },
        "hovertemplate": "level %{x:.5g}<extra></extra>",
    }


def _snaps(values: np.ndarray, rounded: np.ndarray) -> list[dict[str, Any]]:
    """Lines from some values, evenly spaced by rank, to their levels."""
    order = np.argsort(values, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(SNAPS, len(order))).round().astype(int)]
    x, y = values[chosen], rounded[chosen]
    gaps = np.full(len(x), np.nan)
    ends = np.stack([x, y, gaps], 1).ravel()
    heights = np.tile([1.0, 0.0, np.nan], len(x))
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "values snap",
            "showlegend": False,
            "yaxis": "y2",
            "x": ends,
            "y": heights,
            "line": {"color": theme.rgba(theme.INK, 0.8), "width": 1},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "some values",
            "showlegend": False,
            "yaxis": "y2",
            "x": x,
            "y": np.ones(len(x)),
            "customdata": y,
            "marker": {"color": theme.POSITIVE, "size": 6},
            "hovertemplate": "%{x:.5g} becomes %{customdata:.5g}<extra></extra>",
        },
    ]


def _errors(values: np.ndarray, rounded: np.ndarray) -> dict[str, Any]:
    every = max(1, -(-len(values) // ERRORS))
    order = np.argsort(values, kind="stable")
    chosen = np.union1d(order[::every], order[[0, -1]])
    x, y = values[chosen], (rounded - values)[chosen]
    good = np.isfinite(y)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "error",
        "showlegend": False,
        "yaxis": "y3",
        "x": x[good],
        "y": y[good],
        "marker": {"color": theme.WARNING, "size": 4, "opacity": 0.7},
        "hovertemplate": "%{x:.5g}: %{y:+.3g}<extra>error</extra>",
    }
