"""Results side by side, and the factors of learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import STEP, axis
from labkit.figures.base import Spec, extent, figure, finite, limits, thin


@figure
def schedule_curve(factors: np.ndarray | Mapping[str, np.ndarray], *, lr: float = 1.0) -> Spec:
    """The learning rate of one or several schedules over the steps.

    Args:
        factors: one schedule's factor at each step (`schedules.factors`), or several by name.
        lr: what the factors multiply; 1 shows the factors themselves.
    """
    several = factors if isinstance(factors, Mapping) else {"": factors}
    what = "factor of the learning rate" if lr == 1.0 else "learning rate"
    data = []
    for number, (name, values) in enumerate(several.items()):
        y = lr * finite(np.asarray(values))
        index = thin(len(y))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": index,
                "y": y[index],
                "line": {"color": theme.CATEGORIES[number % len(theme.CATEGORIES)], "width": 2},
                "hovertemplate": f"{name}<br>step %{{x}}: %{{y:.6g}}<extra></extra>".lstrip("<br>"),
            }
        )
    longest = max((len(values) for values in several.values()), default=1)
    layout = theme.layout("Learning-rate schedule", legend=len(several) > 1)
    layout["xaxis"] = axis(STEP, [0, max(1, longest)])
    layout["yaxis"] = axis(what, limits(np.zeros(1), *(1.03 * trace["y"] for trace in data)))
    return {"data": data, "layout": layout}


@figure
def comparison(
    rows: Sequence[Mapping[str, Any]],
    value: str,
    *,
    label: str | Sequence[str] | None = None,
    unit: str = "",
) -> Spec:
    """A bar for each row of a results table; rows of the same label share one, at their mean.

    Args:
        rows: the table, one mapping a row; a row without `value` has no bar.
        value: which number to compare.
        label: the columns that name a row; by default those that differ between rows and
            hold no measured fractions.
        unit: of the value, for the axis.
    """
    columns = [label] if isinstance(label, str) else list(label or _differing(rows, value))
    groups: dict[str, list[float]] = {}
    for row in rows:
        name = ", ".join(_word(column, row.get(column), len(columns)) for column in columns)
        groups.setdefault(name or "all", []).append(_number(row.get(value)))
    names = list(groups)
    means = np.array([_mean(values) for values in groups.values()])
    place = np.arange(len(names), dtype=np.float64)
    each = finite(np.array([v for values in groups.values() for v in values]))
    where = np.repeat(place, [len(values) for values in groups.values()])
    hover = "%{x:.5g}" + (f" {unit}" if unit else "") + "<extra>%{customdata}</extra>"
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "x": means,
            "y": place,
            "customdata": [f"{name}: mean" if len(groups[name]) > 1 else name for name in names],
            "marker": {"color": theme.rgba(theme.POSITIVE, 0.75)},
            "hovertemplate": hover,
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": each,
            "y": where,
            "customdata": [names[int(k)] for k in where],
            "marker": {"color": theme.VERMILLION, "size": 7, "symbol": "diamond"},
            "visible": len(each) > len(names),
            "hovertemplate": hover,
        },
    ]
    low, high = extent(each) or (0.0, 1.0)
    span = limits(np.array([min(0.0, low), max(0.0, high)]))
    widest = max((len(name) for name in names), default=1)
    layout = theme.layout(f"{value} compared", height=max(180, 70 + 28 * len(names)), legend=False)
    layout["margin"] = {**layout["margin"], "l": min(270, 34 + 7.2 * widest)}
    layout["bargap"] = 0.35
    layout["xaxis"] = axis(value + (f" ({unit})" if unit else ""), span)
    layout["yaxis"] = axis(
        "", [len(names) - 0.5, -0.5], tickvals=place, ticktext=[_short(n) for n in names],
        showgrid=False,
    )  # fmt: skip
    return {"data": data, "layout": layout}


def _differing(rows: Sequence[Mapping[str, Any]], value: str) -> list[str]:
    found = []
    for column in dict.fromkeys(key for row in rows for key in row):
        items = [row.get(column) for row in rows]
        measured = any(isinstance(item, float) and not item.is_integer() for item in items)
        names = column in ("lr", "noise", "weight_decay") or not measured
        if column not in (value, "seed") and names and len({repr(item) for item in items}) > 1:
            found.append(column)
    return found


def _word(column: str, item: Any, columns: int) -> str:
    text = f"{item:g}" if isinstance(item, float) else str(item)
    return f"{column}={text}" if columns > 1 or not isinstance(item, str) else text


def _short(name: str) -> str:
    return name if len(name) <= 34 else name[:33] + "…"


def _number(item: Any) -> float:
    return float(item) if isinstance(item, int | float | np.number) else float("nan")


def _mean(values: list[float]) -> float:
    good = [v for v in values if np.isfinite(v)]
    return float(np.mean(good)) if good else float("nan")
