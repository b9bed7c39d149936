"""Many runs at a glance: a line per run, a panel per number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, decades, figure, finite, limits, positive

ROW = 23  # pixels per row
GAP = 0.035  # between columns, as a share of the width


@figure
def overview(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    label: str,
    group: str | None = None,
    log: Sequence[str] = (),
) -> Spec:
    """A table as dots: a line for each `label`, a panel for each column, a colour for each `group`.

    Lines are in the order in which their labels first appear. On a log panel a zero is a
    cross at the left edge; what is not finite is a triangle at the right edge of any panel.

    Args:
        rows: the table.
        columns: which of its columns to show, and the title of each.
        label: the column that names the line.
        group: the column that chooses the colour.
        log: the columns on a log axis.
    """
    names = list(dict.fromkeys(str(row[label]) for row in rows))
    groups = list(dict.fromkeys(str(row[group]) for row in rows)) if group else [""]
    height = 96 + ROW * max(1, len(names))
    widest = max((len(name) for name in names), default=1)
    layout = theme.layout(", ".join(columns.values()), height=height, legend=bool(group))
    layout["margin"] = {**layout["margin"], "l": min(240, 30 + 7 * widest)}
    width = (1 - GAP * (len(columns) - 1)) / max(1, len(columns))
    data = []
    for number, (column, title) in enumerate(columns.items()):
        suffix = "" if number == 0 else str(number + 1)
        values = np.array([as_number(row.get(column)) for row in rows])
        span = span_of(values, column in log)
        left = number * (width + GAP)
        make = log_axis if column in log else axis
        layout[f"xaxis{suffix}"] = make(
            title, span, domain=[left, min(1.0, left + width)], anchor="y"
        )
        for k, (mine, color) in enumerate(zip(groups, theme.CATEGORIES, strict=False)):
            apart = 0.3 * (k / (len(groups) - 1) - 0.5) if len(groups) > 1 else 0.0
            chosen = [i for i, row in enumerate(rows) if not group or str(row[group]) == mine]
            x, symbols = places(values[chosen], span, column in log)
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": mine,
                    "legendgroup": mine,
                    "showlegend": bool(group) and number == 0,
                    "x": x,
                    "y": np.array([names.index(str(rows[i][label])) for i in chosen]) + apart,
                    "xaxis": f"x{suffix}",
                    "yaxis": "y",
                    "marker": {"color": color, "size": 10, "symbol": symbols, "opacity": 0.85},
                    "customdata": [f"{rows[i][label]}: {values[i]:.4g}" for i in chosen],
                    "hovertemplate": f"%{{customdata}}<extra>{mine}</extra>",
                }
            )
    layout["yaxis"] = axis(
        "",
        [len(names) - 0.4, -0.6],
        tickvals=list(range(len(names))),
        ticktext=names,
        domain=[0, 1],
        anchor="x",
    )
    return {"data": data, "layout": layout}


def as_number(item: Any) -> float:
    """A cell of a table as a number; NaN where it holds none."""
    return float(item) if isinstance(item, int | float | np.number) else float("nan")


def span_of(values: np.ndarray, log: bool) -> list[float]:
    """A panel's limits, with room for dots; exponents of ten on a log axis."""
    low, high = decades(positive(values)) if log else limits(np.zeros(1), finite(values))
    room = 0.06 * (high - low)
    return [low - room, high + room]


def places(values: np.ndarray, span: Sequence[float], log: bool) -> tuple[np.ndarray, list[str]]:
    """Where to draw each number, and with which symbol."""
    low, high = span[0] + 0.02 * (span[1] - span[0]), span[1] - 0.02 * (span[1] - span[0])
    if log:
        low, high = 10.0**low, 10.0**high
    x, symbols = finite(values), ["circle"] * len(values)
    for k, value in enumerate(values):
        if not np.isfinite(value):
            x[k], symbols[k] = high, "triangle-right-open"
        elif log and value <= 0:
            x[k], symbols[k] = low, "x"
    return x, symbols
