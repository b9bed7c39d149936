"""Quantization-aware training: a layer's weights on the grid they are rounded to at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, thin

SHOWN = 8  # levels on either side of zero that are shown, of more


@figure
def weights_on_grid(
    steps: np.ndarray,
    counts: Sequence[np.ndarray],
    distance: np.ndarray,
    moved: np.ndarray,
    *,
    bits: int,
    layer: str = "",
    end: int | None = None,
    height: int = 430,
) -> Spec:
    """The histogram of a layer's weights between the levels, first and now, and how they move.

    Args:
        steps: `(n,)`, of the records.
        counts: `n` histograms `(2^bits * parts,)`, equal parts of a step from half a step
            below the lowest level to half a step above the highest.
        distance: `(n,)`, mean distance to the nearest level, in steps.
        moved: `(n,)`, shares of the weights that have changed their level since the start.
        bits: of the grid.
        layer: its name.
        end: the last step of the run, where the axis ends.
        height: in pixels.
    """
    top = 2 ** (bits - 1)
    most = min(SHOWN, top)
    levels = np.arange(-most, min(most, top - 1) + 1)
    data: list[dict[str, Any]] = []
    first, last = (_density(counts[k], top) if len(counts) else _empty() for k in (0, -1))
    data.append(
        {
            "type": "bar",
            "name": "now",
            "x": last[0],
            "y": last[1],
            "width": last[2],
            "marker": {"color": theme.rgba(theme.POSITIVE, 0.6), "line": {"width": 0}},
            "hovertemplate": "around %{x:.3g} steps: density %{y:.3g}<extra>now</extra>",
        }
    )
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "at the first record",
            "x": first[0],
            "y": first[1],
            "line": {"color": theme.INK, "width": 1.5, "shape": "hvh"},
            "hovertemplate": "around %{x:.3g} steps: density %{y:.3g}<extra>first</extra>",
        }
    )
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "levels",
            "x": levels,
            "y": np.zeros(len(levels)),
            "marker": {
                "symbol": "line-ns",
                "size": 12,
                "line": {"color": theme.NEGATIVE, "width": 2},
            },
            "hovertemplate": "level %{x}<extra></extra>",
        }
    )
    index = thin(len(steps))
    for name, values, place, color in (
        ("distance to the nearest level", distance, "y2", theme.WARNING),
        ("weights on another level", moved, "y3", theme.NEGATIVE),
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "showlegend": False,
                "xaxis": "x2",
                "yaxis": place,
                "x": np.asarray(steps, np.float64)[index],
                "y": np.asarray(values, np.float64)[index],
                "line": {"color": color, "width": 2},
                "marker": {"color": color, "size": 4},
                "hovertemplate": f"step %{{x}}: %{{y:.3f}}<extra>{name}</extra>",
            }
        )
    title = f"{layer or 'weights'}, float, on their grid of {bits} bits"
    layout = theme.layout(title, height=height)
    layout["bargap"] = 0
    layout["xaxis"] = axis(
        "weight, in steps of its channel's grid", [-most - 0.5, most + 0.5], anchor="y", dtick=1
    )
    layout["yaxis"] = axis("density", domain=[0.5, 1.0], rangemode="tozero")
    right = max(1, end or 1, int(steps[-1]) if len(steps) else 1)
    layout["xaxis2"] = axis("step", [0, right], anchor="y3")
    layout["yaxis2"] = axis(
        "distance", [0, 0.5], domain=[0.21, 0.36], anchor="x2", tickvals=[0, 0.25, 0.5]
    )
    share = max(0.05, float(np.max(moved, initial=0.0)) * 1.1)
    layout["yaxis3"] = axis("moved", [0, share], domain=[0.0, 0.15], anchor="x2", nticks=3)
    layout["yaxis3"]["tickformat"] = ".0%"
    return {"data": data, "layout": layout}


def _density(counts: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Middles, shares per step and width of the parts."""
    counts = np.asarray(counts, np.float64)
    width = 2 * top / len(counts)
    middles = -top - 0.5 + width * (np.arange(len(counts)) + 0.5)
    return middles, counts / max(1.0, counts.sum()) / width, width


def _empty() -> tuple[np.ndarray, np.ndarray, float]:
    return np.empty(0), np.empty(0), 1.0
