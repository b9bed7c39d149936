"""A learning rate range test: the loss while the learning rate grows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, figure, finite, limits, thin

if TYPE_CHECKING:
    from labkit.analysis.lr_range import RangeTest

ZONES = (("too low", theme.SKY), ("learns", theme.GREEN), ("too high", theme.VERMILLION))


@figure
def range_curve(test: RangeTest) -> Spec:
    """Loss against learning rate, with the suggestion and the rates around it.

    The thin line is the loss of each batch, the bold one the smoothed loss. Where the loss
    explodes, the axis shows only the beginning of it.
    """
    rates, losses, smoothed = test.lrs, finite(test.losses), finite(test.smoothed)
    index = thin(len(rates))
    span = [math.log10(rates[0]), math.log10(rates[-1])] if len(rates) > 1 else [-5.0, 1.0]
    low, high = _heights(test, losses, smoothed)
    data = [
        _line("batches", rates[index], losses[index], theme.rgba(theme.INK, 0.5), 1),
        _line("smoothed", rates[index], smoothed[index], theme.BLUE, 2.5),
        _suggestion(test, smoothed),
    ]
    layout = theme.layout(f"Learning rate range test: {test.reason}")
    layout["xaxis"] = log_axis("learning rate", span)
    layout["yaxis"] = axis("loss", [low, high])
    layout |= _zones(test, span, layout)
    return {"data": data, "layout": layout}


def _heights(test: RangeTest, losses: np.ndarray, smoothed: np.ndarray) -> list[float]:
    """Loss axis limits: the whole curve, but only the beginning of an explosion."""
    good = smoothed[np.isfinite(smoothed)]
    if not len(good):
        return limits(losses)
    start, least = float(good[0]), float(good.min())
    typical = losses[np.isfinite(losses)]
    most = max(float(np.quantile(typical, 0.9)), start)
    ceiling = start + 1.5 * max(start - least, 0.1 * abs(start))
    top = min(max(most, start), ceiling)
    low = min(least, float(np.quantile(typical, 0.02)))
    room = 0.12 * (top - low)  # above the curve, for the names of the zones
    return limits(np.array([low, top + room]))


def _suggestion(test: RangeTest, smoothed: np.ndarray) -> dict[str, Any]:
    shown = test.suggestion is not None
    at = test.suggestion if test.suggestion is not None else math.nan
    good = np.isfinite(smoothed)
    height = np.interp(math.log(at), np.log(test.lrs[good]), smoothed[good]) if shown else math.nan
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"suggestion {at:.2g}" if shown else "no suggestion",
        "x": np.array([at]),
        "y": np.array([height]),
        "marker": {"color": theme.VERMILLION, "size": 12},
        "showlegend": shown,
        "hovertemplate": "suggestion<br>learning rate %{x:.3g}<br>loss %{y:.4g}<extra></extra>",
    }


def _zones(test: RangeTest, span: list[float], layout: dict[str, Any]) -> dict[str, Any]:
    """Coloured bands behind the curve, each with its name above; none without a suggestion."""
    if test.zone is None:
        return {"shapes": [], "annotations": []}
    edges = [span[0], *(math.log10(rate) for rate in test.zone), span[1]]
    shapes, notes = [], []
    for (word, color), left, right in zip(ZONES, edges, edges[1:], strict=False):
        if right <= left:
            continue
        shapes.append(
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "layer": "below",
                "x0": 10**left,
                "x1": 10**right,
                "y0": 0,
                "y1": 1,
                "line": {"width": 0},
                "fillcolor": theme.rgba(color, 0.1),
            }
        )
        notes.append(
            {
                "text": word,
                "x": (left + right) / 2,  # a log axis takes annotations as exponents
                "xref": "x",
                "y": 1,
                "yref": "paper",
                "yanchor": "top",
                "showarrow": False,
                "font": {"size": 12},
            }
        )
    return {"shapes": shapes, "annotations": notes}


def _line(name: str, x: np.ndarray, y: np.ndarray, color: str, width: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": width},
        "hovertemplate": f"{name}<br>learning rate %{{x:.3g}}: %{{y:.4g}}<extra></extra>",
    }
