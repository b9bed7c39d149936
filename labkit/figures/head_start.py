"""Pre-trained weights against random ones: the same data and budget on one plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, finite
from labkit.figures.finetuning import epoch_axis

Dict = dict[str, Any]
Curve = tuple[Sequence[float], Sequence[float]]


def reached(curve: Curve, value: float) -> float | None:
    """The first epoch at which a curve is at `value` or above, or None."""
    epochs, values = (np.asarray(numbers, np.float64) for numbers in curve)
    there = np.flatnonzero(values >= value)
    return float(epochs[there[0]]) if len(there) else None


@figure
def head_start(
    pretrained: Curve,
    scratch: Curve,
    *,
    names: tuple[str, str] = ("pre-trained", "from scratch"),
    metric: str = "mAP50",
    height: int = theme.HEIGHT,
) -> Spec:
    """Two fine-tuning runs that differ in their first weights only.

    A dotted line leads from where the run from scratch ends to the epoch at which the other
    one had as much.

    Args:
        pretrained, scratch: epochs and what was reached after each, from 0 to 1.
        names: of the two.
        metric: what is drawn.
        height: in pixels.
    """
    data: list[Dict] = []
    for name, curve, color in zip(
        names, (pretrained, scratch), (theme.TRAINING, theme.VALIDATION), strict=True
    ):
        epochs, values = (finite(np.asarray(numbers)) for numbers in curve)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "cliponaxis": False,
                "name": name,
                "x": epochs,
                "y": values,
                "line": {"color": color, "width": 2.5},
                "marker": {"color": color, "size": 7},
                "hovertemplate": f"{name}<br>epoch %{{x}}: {metric} %{{y:.3f}}<extra></extra>",
            }
        )
    last = max((float(trace["x"][-1]) for trace in data if len(trace["x"])), default=1.0)
    layout = theme.layout(f"{metric} over the epochs: {names[0]} and {names[1]}", height=height)
    layout["xaxis"] = epoch_axis(last)
    layout["yaxis"] = axis(f"{metric} on validation images", [0, 1.03])
    return {"data": data, "layout": layout | _lead(pretrained, scratch, names)}


def _lead(pretrained: Curve, scratch: Curve, names: tuple[str, str]) -> Dict:
    """The dotted line, and how many epochs it spares, in words."""
    epochs, values = scratch
    if not len(epochs) or not np.isfinite(values[-1]):
        return {}
    when = reached(pretrained, values[-1])
    if when is None or when >= epochs[-1]:
        return {}
    words = f"{names[0]} has it after {when:g} of {epochs[-1]:g} epochs"
    if when == pretrained[0][0]:
        words = f"{names[1]} does not come as far as {names[0]} begins"
    line = {"type": "line", "line": {"color": theme.LINE, "width": 1.5, "dash": "dot"}}
    note = {
        "text": words,
        "x": 1,
        "xref": "paper",
        "xanchor": "right",
        "y": 1.02,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12, "color": theme.TEXT},
    }
    across = {"x0": when, "x1": epochs[-1], "y0": values[-1], "y1": values[-1]}
    down = {"x0": when, "x1": when, "y0": 0, "y1": values[-1]}
    return {"shapes": [line | across, line | down], "annotations": [note]}
