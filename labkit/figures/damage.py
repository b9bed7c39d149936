"""A detector's mean average precision (mAP) as its weights are damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure
from labkit.figures.score_lines import score_lines

Curve = Sequence[tuple[float, float]]

SCORE = "mAP50"


@figure
def damage_curve(
    curves: Mapping[str, Curve],
    *,
    undamaged: float,
    unit: str = "amount of damage",
    span: tuple[float, float] | None = None,
    now: tuple[float, float] | None = None,
    height: int = 300,
) -> Spec:
    """mAP50 against the amount of damage, a line per kind of damage or per layer.

    Args:
        curves: name -> (amount, mAP50 in 0 to 1) in any order.
        undamaged: mAP50 before, as a dotted line.
        unit: what the amount is, for the axis.
        span: the axis' limits; by default they hold all amounts.
        now: the point to mark.
        height: in pixels.
    """
    amounts = [x for curve in curves.values() for x, _ in curve]
    if span is None:
        span = (min(amounts, default=0.0), max(amounts, default=1.0))
    low, high = span if span[1] > span[0] else (span[0], span[0] + 1)
    data = score_lines(
        {name: sorted(curve) for name, curve in curves.items()},
        before=("undamaged", undamaged),
        ends=(low, high),
        now=now,
        at="%{x:.3g}",
        what=SCORE,
    )
    room = 0.03 * (high - low)
    layout = theme.layout(f"{SCORE} against {unit}", height=height)
    layout["xaxis"] = axis(unit, [low - room, high + room])
    layout["yaxis"] = axis(SCORE, [-0.03, 1.03])
    return {"data": data, "layout": layout}


@figure
def damage_by_layer(
    layers: Mapping[str, float],
    *,
    undamaged: float,
    title: str = "",
    height: int = 300,
) -> Spec:
    """mAP50 after the same damage to one layer at a time: which layers matter most.

    Args:
        layers: name -> mAP50 in 0 to 1, from the input to the output.
        undamaged: mAP50 before, as a dotted line.
        title: what was done, for the axis.
        height: in pixels.
    """
    names = list(layers)
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": "one layer damaged",
            "x": names,
            "y": np.array(list(layers.values()), np.float64),
            "marker": {"color": theme.POSITIVE, "line": {"width": 0}},
            "hovertemplate": f"%{{x}}: {SCORE} %{{y:.3f}}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "undamaged",
            "x": names,
            "y": np.full(len(names), undamaged),
            "line": {"color": theme.INK, "width": 1.5, "dash": "dot"},
            "hovertemplate": f"undamaged: {SCORE} %{{y:.3f}}<extra></extra>",
        },
    ]
    layout = theme.layout(f"{SCORE} by damaged layer", height=height)
    layout["margin"] = {**layout["margin"], "b": 90}
    layout["xaxis"] = axis(title or "damaged layer", type="category", tickangle=-50)
    layout["yaxis"] = axis(SCORE, [0, 1.03])
    return {"data": data, "layout": layout}
