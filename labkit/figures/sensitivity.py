"""The sensitivity of each layer to few bits: bars from the input to the output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, nice

if TYPE_CHECKING:
    from labkit.quantize.sensitivity import LayerSensitivity, Sensitivity

NAMED = 40  # with more bars than this, only the hover text names the layers


@figure
def sensitivity(result: Sensitivity, *, height: int = 420) -> Spec:
    """Quantized one at a time: the error at the network's outputs, and the mAP that is lost.

    The head's bars have a colour of their own, since it is often left in float. Bars
    appear one by one while the layers are measured; the axis has room for all of them from
    the start.

    Args:
        result: from `labkit.quantize.sensitivity`, complete or not.
        height: in pixels; without mAP about half of it is used.
    """
    layers = result.layers
    with_map = result.before is not None
    error = {one.name: 100 * 10 ** (-one.sqnr / 20) for one in layers}
    data = [_bars(layers, error, head, "y") for head in (False, True)]
    if with_map:
        drops = {one.name: one.drop or 0.0 for one in layers}
        data += [_bars(layers, drops, head, "y2") for head in (False, True)]
    bits = f"{result.bits} bits" if isinstance(result.bits, int) else result.bits
    read = "" if result.activations is None else f", activations {result.activations}"
    label = f"one layer at a time at {bits} ({result.scheme}{read}), from the input to the output"
    layout = theme.layout(label, height=height if with_map else round(0.6 * height))
    layout["margin"] = {**layout["margin"], "b": 90 if result.total <= NAMED else 46}
    layout["bargap"], layout["barmode"] = 0.25, "overlay"
    names = [one.name for one in layers]
    layout["xaxis"] = axis(
        label, [-0.6, result.total - 0.4],
        type="category", categoryorder="array", categoryarray=names, tickangle=-50,
        showticklabels=result.total <= NAMED, anchor="y",
    )  # fmt: skip
    top = nice(max([v for v in error.values() if math.isfinite(v)] + [1e-3]))
    layout["yaxis"] = axis(
        "error at the outputs (%)", [0, 1.05 * top], domain=[0, 0.46 if with_map else 1]
    )
    if with_map:
        most = nice(max([abs(v) for v in drops.values()] + [0.01]))
        low = min([0.0, *drops.values()])
        layout["yaxis2"] = axis(
            "mAP50-95 lost", [1.1 * low, 1.05 * most], domain=[0.54, 1], anchor="x", zeroline=True
        )
    return {"data": data, "layout": layout}


def _bars(
    layers: tuple[LayerSensitivity, ...], values: dict[str, float], head: bool, place: str
) -> dict[str, Any]:
    mine = [one for one in layers if one.head is head]
    color = theme.VERMILLION if head else theme.POSITIVE
    form = "%{y:.3g} % error at the outputs" if place == "y" else "mAP50-95 lost: %{y:.4f}"
    return {
        "type": "bar",
        "name": "head" if head else "backbone and neck",
        "showlegend": place == "y",
        "legendgroup": "head" if head else "body",
        "x": [one.name for one in mine],
        "y": np.array([values[one.name] for one in mine], np.float64),
        "yaxis": place,
        "customdata": [f"{one.kind}, {one.weights:,} weights" for one in mine],
        "marker": {"color": color, "line": {"width": 0}},
        "hovertemplate": f"%{{x}} (%{{customdata}})<br>{form}<extra></extra>",
    }
