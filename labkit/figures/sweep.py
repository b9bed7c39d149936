"""A sweep as a map: one cell per run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, finite

PRINTED = 120  # the most cells that have room for a readable number
WIDEST = 13  # the most columns whose cells have room for a number
ROOM = 110  # characters of labels that fit below a map
COLUMNS = "learning rate"
# Opaque colours, so that the numbers printed on them can be read on any page.
_SCALE = ((0.0, "#E6F0F8"), (0.5, "#6FA8D6"), (1.0, "#0A3F6B"))
_DARK, _LIGHT = "#1B1B1B", "#FFFFFF"
_GONE = theme.rgba(theme.WARNING, 0.16)
WORDS = {
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
}


@figure
def sweep_map(
    values: np.ndarray,
    rows: Sequence[Any],
    columns: Sequence[Any],
    *,
    metric: str = "val_loss",
    row_title: str = "",
    unit: str = "",
    chosen: tuple[int, int] | None = None,
) -> Spec:
    """One cell per run: dark is good, a cross has diverged, a frame marks the best.

    Losses have logarithmic colours, since they differ by factors.

    Args:
        values: the metric of each run at its end, `(rows, columns)`; NaN where it diverged.
        rows, columns: the value of each row, a name or a number, and of each column, a
            learning rate.
        metric: what is shown (`val_loss`, `val_accuracy`, `train_loss`, …). High is good for
            an accuracy, low for anything else.
        row_title: name of the vertical axis; the horizontal one is the learning rate.
        unit: of the metric, for the colour bar.
        chosen: row and column of a cell to frame, such as the one that is shown below.
    """
    values = finite(np.asarray(values))
    high, wide = values.shape
    accuracy = metric.endswith("accuracy")
    shade, ends = _shades(values, accuracy)
    words = WORDS.get(metric, metric)
    across, down = [[_label(item) for item in items] for items in (columns, rows)]
    hover = [
        [
            f"{_named(row_title, down[r])}<br>{_named(COLUMNS, across[c])}<br>"
            + _result(values[r, c], words, unit, accuracy)
            for c in range(wide)
        ]
        for r in range(high)
    ]
    gone = np.isnan(values)
    cells = {
        "type": "heatmap",
        "x": np.arange(wide),
        "y": np.arange(high),
        "text": hover,
        "hoverongaps": False,
        "hovertemplate": "%{text}<extra></extra>",
        "xgap": 2,
        "ygap": 2,
    }
    data: list[dict[str, Any]] = [
        {
            **cells,
            "name": words,
            "z": shade,
            "zmin": 0.0,
            "zmax": 1.0,
            "colorscale": [list(stop) for stop in _SCALE],
            "showscale": ends is not None,
            "colorbar": _bar(words, unit, ends, accuracy),
        },
        {
            **cells,
            "name": "diverged",
            "z": np.where(gone, 1.0, np.nan),
            "zmin": 0.0,
            "zmax": 1.0,
            "colorscale": [[0, _GONE], [1, _GONE]],
            "showscale": False,
        },
        _crosses(gone),
    ]
    data.append(_frame("best", best_cell(values, metric), theme.ORANGE, 0.47, 3.5))
    data.append(_frame("shown below", chosen, theme.VERMILLION, 0.38, 2.5, "dot"))
    if values.size <= PRINTED and wide <= WIDEST:
        data += _numbers(values, shade, accuracy)
    layout = theme.layout(
        f"Map of the {words} of {values.size} runs", height=max(220, 112 + 38 * min(high, 16))
    )
    longest = max((len(name) for name in down), default=1)
    layout["margin"] = {**layout["margin"], "l": min(240, 48 + round(6.8 * longest)), "r": 96}
    layout["xaxis"] = _side(COLUMNS, across, [-0.5, wide - 0.5], across=True)
    layout["yaxis"] = _side(row_title, down, [high - 0.5, -0.5])
    return {"data": data, "layout": layout}


def _shades(values: np.ndarray, accuracy: bool) -> tuple[np.ndarray, tuple[float, float] | None]:
    """How dark each cell is, from 0 to 1, and the values at those ends (None without any)."""
    if accuracy:
        scaled = values
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.log10(np.maximum(values, 1e-12))
        scaled = -scaled
    good = scaled[np.isfinite(scaled)]
    if not len(good):
        return scaled, None
    low, high = float(good.min()), float(good.max())
    if not accuracy:  # one run that nearly exploded must not use up the colours
        low = max(low, float(np.median(good)) - 1.0)
        scaled = np.maximum(scaled, low)
    if high - low < 1e-9:
        return np.where(np.isnan(scaled), np.nan, 0.5), (low - 0.5, low + 0.5)
    return (scaled - low) / (high - low), (low, high)


def _bar(words: str, unit: str, ends: tuple[float, float] | None, accuracy: bool) -> dict[str, Any]:
    title = f"{words} ({unit})" if unit and not accuracy else words
    bar: dict[str, Any] = {
        "title": {"text": title, "side": "right", "font": {"size": 12}},
        "thickness": 12,
        "outlinewidth": 0,
    }
    if ends is not None:
        places = np.linspace(0, 1, 5)
        amounts = ends[0] + places * (ends[1] - ends[0])
        amounts = amounts if accuracy else 10**-amounts
        bar |= {"tickvals": places, "ticktext": [_short(v, accuracy) for v in amounts]}
    return bar


def _crosses(gone: np.ndarray) -> dict[str, Any]:
    down, across = np.nonzero(gone)
    shown = bool(len(down))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "diverged",
        "x": across.astype(np.float64) if shown else np.array([np.nan]),
        "y": down.astype(np.float64) if shown else np.array([np.nan]),
        "marker": {
            "symbol": "x-thin",
            "size": 13,
            "color": theme.WARNING,
            "line": {"color": theme.WARNING, "width": 2.5},
        },
        "showlegend": shown,
        "hoverinfo": "skip",
    }


def _frame(
    name: str,
    cell: tuple[int, int] | None,
    color: str,
    half: float,
    width: float,
    dash: str = "solid",
) -> dict[str, Any]:
    """A square around a cell; nowhere, and not in the legend, where there is none."""
    row, column = cell or (math.nan, math.nan)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": column + half * np.array([-1.0, 1, 1, -1, -1]),
        "y": row + half * np.array([-1.0, -1, 1, 1, -1]),
        "line": {"color": color, "width": width, "dash": dash},
        "showlegend": cell is not None,
        "hoverinfo": "skip",
    }


def _numbers(values: np.ndarray, shade: np.ndarray, accuracy: bool) -> list[dict[str, Any]]:
    """The value in each cell, dark on pale cells and pale on dark ones."""
    groups = []
    dark = shade > 0.55
    for name, chosen, color in (
        ("on pale", ~dark & ~np.isnan(values), _DARK),
        ("on dark", dark, _LIGHT),
    ):
        down, across = np.nonzero(chosen)
        groups.append(
            {
                "type": "scatter",
                "mode": "text",
                "name": name,
                "x": across.astype(np.float64),
                "y": down.astype(np.float64),
                "text": [_short(value, accuracy) for value in values[chosen]],
                "textfont": {"color": color, "size": 11},
                "showlegend": False,
                "hoverinfo": "skip",
            }
        )
    return groups


def best_cell(values: np.ndarray, metric: str) -> tuple[int, int] | None:
    """Row and column of the largest accuracy or the smallest loss; None where all diverged."""
    if np.isnan(values).all():
        return None
    best = np.nanargmax if metric.endswith("accuracy") else np.nanargmin
    row, column = np.unravel_index(int(best(values)), values.shape)
    return int(row), int(column)


def _side(
    title: str, labels: list[str], span: list[float], *, across: bool = False
) -> dict[str, Any]:
    room = ROOM if across else math.inf
    every = math.ceil(len(labels) * (2 + max(map(len, labels), default=1)) / room) or 1
    places = list(range(0, len(labels), every))
    return axis(
        title,
        span,
        showgrid=False,
        tickvals=places,
        ticktext=[labels[k] for k in places],
        tickangle=0,
    )


def _label(item: Any) -> str:
    if isinstance(item, float):
        return f"{item:.3g}"
    return str(item)


def _named(title: str, label: str) -> str:
    return f"{title} {label}" if title else label


def _result(value: float, words: str, unit: str, accuracy: bool) -> str:
    if math.isnan(value):
        return "diverged: the loss became infinite or NaN"
    if accuracy:
        return f"{words} {value:.1%}"
    return f"{words} {value:.4g}" + (f" {unit}" if unit else "")


def _short(value: float, accuracy: bool) -> str:
    if accuracy:
        return f"{100 * value:.0f}%"
    return f"{value:.2g}" if value < 1000 else f"{value:.0e}"
