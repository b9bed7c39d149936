"""What a detector finds against the bits of its weights, a line per scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure

Bits = int | str
Points = Sequence[tuple[Bits, float]]
ORDER = (2, 3, 4, 5, 6, 7, 8, "e5m2", "e4m3", 16, "bf16", "fp16")


@figure
def bits_curve(
    curves: Mapping[str, Points],
    *,
    float32: float,
    bits: Iterable[Bits] = (),
    now: tuple[Bits, float] | None = None,
    what: str = "mAP50-95",
    height: int = 300,
) -> Spec:
    """mAP against bits, from few to many; formats stand beside integers of their width.

    Args:
        curves: scheme -> (bits, mAP in 0 to 1) in any order.
        float32: mAP before anything was rounded, as a dotted line.
        bits: what the axis has in any case.
        now: the point to mark.
        what: which mAP.
        height: in pixels.
    """
    met = {one for points in curves.values() for one, _ in points} | set(bits)
    places = [one for one in ORDER if one in met or (now and one == now[0])]
    labels = [str(one) for one in places]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "float32",
            "x": labels[:1] + labels[-1:],
            "y": [float32] * min(2, len(labels) * 2),
            "line": {"color": theme.INK, "width": 1.5, "dash": "dot"},
            "hovertemplate": f"float32: {what} %{{y:.3f}}<extra></extra>",
        }
    ]
    for k, (name, points) in enumerate(curves.items()):
        known = sorted(points, key=lambda point: ORDER.index(point[0]))
        color = theme.CATEGORIES[k % len(theme.CATEGORIES)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [str(one) for one, _ in known],
                "y": np.array([y for _, y in known], np.float64),
                "line": {"color": color, "width": 2},
                "marker": {"color": color, "size": 7},
                "hovertemplate": f"{name}<br>%{{x}} bits: {what} %{{y:.3f}}<extra></extra>",
            }
        )
    here = [now] if now else []
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "now",
            "showlegend": bool(here),
            "x": [str(one) for one, _ in here],
            "y": [y for _, y in here],
            "marker": {
                "color": theme.WARNING,
                "size": 13,
                "symbol": "diamond",
                "line": {"color": theme.OUTLINE, "width": 1},
            },
            "hovertemplate": f"now, %{{x}} bits: {what} %{{y:.3f}}<extra></extra>",
        }
    )
    layout = theme.layout(f"{what} against the bits of a weight", height=height)
    layout["xaxis"] = axis(
        "bits (or format) of a weight", [-0.4, max(len(labels), 1) - 0.6], type="category",
        categoryorder="array", categoryarray=labels,
    )  # fmt: skip
    layout["yaxis"] = axis(what, [-0.03, 1.03])
    return {"data": data, "layout": layout}
