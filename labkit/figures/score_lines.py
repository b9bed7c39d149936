"""Traces of scores: a line per curve, a dotted line for a reference, a mark for the present."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme

Point = tuple[Any, float]


def score_lines(
    curves: Mapping[str, Sequence[Point]],
    *,
    before: tuple[str, float],
    ends: Iterable[Any],
    now: Point | None,
    at: str,
    what: str,
) -> list[dict[str, Any]]:
    """The traces.

    Args:
        curves: name -> (place, score in 0 to 1), from left to right.
        before: the name and the score of the dotted line.
        ends: the places between which it is drawn.
        now: the point to mark.
        at: how a hover template shows a place, such as `%{x} bits`.
        what: the name of the score.
    """
    hover, (name, level) = f"{what} %{{y:.3f}}<extra></extra>", before
    ends = list(ends)
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": ends,
            "y": [level] * len(ends),
            "line": {"color": theme.INK, "width": 1.5, "dash": "dot"},
            "hovertemplate": f"{name}: {hover}",
        }
    ]
    for k, (name, points) in enumerate(curves.items()):
        color = theme.CATEGORIES[k % len(theme.CATEGORIES)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [x for x, _ in points],
                "y": np.array([y for _, y in points], np.float64),
                "line": {"color": color, "width": 2},
                "marker": {"color": color, "size": 7},
                "hovertemplate": f"{name}<br>{at}: {hover}",
            }
        )
    here = [now] if now else []
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "now",
            "showlegend": bool(here),
            "x": [x for x, _ in here],
            "y": [y for _, y in here],
            "marker": {
                "color": theme.WARNING,
                "size": 13,
                "symbol": "diamond",
                "line": {"color": theme.OUTLINE, "width": 1},
            },
            "hovertemplate": f"now, {at}: {hover}",
        }
    )
    return data
