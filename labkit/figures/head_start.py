"""Fine-tuning from pre-trained and from random weights, with the same data and budget."""

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


NAMES = ("pre-trained", "from scratch")


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
    height: int = theme.HEIGHT,
) -> Spec:
    """mAP50 of two fine-tuning runs that differ in their initial weights only.

    A dotted line leads from the end of the run from scratch to the epoch at which the other
    run reached the same mAP50.

    Args:
        pretrained, scratch: epochs, and mAP50 after each, from 0 to 1.
        height: in pixels.
    """
    data: list[Dict] = []
    for name, curve, color in zip(
        NAMES, (pretrained, scratch), (theme.TRAINING, theme.VALIDATION), strict=True
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
                "hovertemplate": f"{name}<br>epoch %{{x}}: mAP50 %{{y:.3f}}<extra></extra>",
            }
        )
    last = max((float(trace["x"][-1]) for trace in data if len(trace["x"])), default=1.0)
    layout = theme.layout(f"mAP50 over the epochs: {NAMES[0]} and {NAMES[1]}", height=height)
    layout["xaxis"] = epoch_axis(last)
    layout["yaxis"] = axis("mAP50 on validation images", [0, 1.03])
    return {"data": data, "layout": layout | _lead(pretrained, scratch)}


def _lead(pretrained: Curve, scratch: Curve) -> Dict:
    """The dotted line, and how many epochs pre-training saves, in words."""
    epochs, values = scratch
    if not len(epochs) or not np.isfinite(values[-1]):
        return {}
    when = reached(pretrained, values[-1])
    if when is None or when >= epochs[-1]:
        return {}
    words = f"{NAMES[0]} reaches this after {when:g} of {epochs[-1]:g} epochs"
    if when == pretrained[0][0]:
        words = f"{NAMES[1]} does not reach the first value of {NAMES[0]}"
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
