"""Layer by layer: the size of gradients, and of updates relative to the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import events, horizon, log_axis, step_axis
from labkit.figures.base import Spec, decades, figure, positive, thin

if TYPE_CHECKING:
    from labkit.training.history import History

LAYERS = 12  # of more layers, evenly spaced ones are shown, the first and the last included
RULE_OF_THUMB = 1e-3


@figure
def gradient_flow(history: History, *, steps: int | None = None) -> Spec:
    """The norm of the gradient of each layer's weights over the steps, on a log axis.

    Layers are coloured from first (blue) to last (vermillion): where the early ones lie far
    below the late ones, the gradient vanishes on its way back.
    """
    return _by_layer(history, "gradient_norm", "gradient norm (L2)", steps)


@figure
def update_ratio(history: History, *, steps: int | None = None) -> Spec:
    """The norm of each update over the norm of the weights it changed, layer by layer.

    The dashed line is the rule of thumb of about 1e-3: much higher, and the learning rate
    may be too large; much lower, too small (Karpathy, CS231n notes, "Ratio of
    weights:updates").
    """
    spec = _by_layer(history, "update_ratio", "‖update‖ / ‖weights‖", steps, RULE_OF_THUMB)
    rule = {
        "type": "scatter",
        "mode": "lines",
        "name": "rule of thumb: 0.001",
        "x": np.array(spec["layout"]["xaxis"]["range"], np.float64),
        "y": np.full(2, RULE_OF_THUMB),
        "line": {"color": theme.INK, "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }
    return {**spec, "data": [*spec["data"], rule]}


def layers(names: tuple[str, ...]) -> list[str]:
    """One tensor per layer: those named `weight`, or all tensors if there are none."""
    chosen = [name for name in names if name.endswith("weight")] or list(names)
    if len(chosen) > LAYERS:
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, LAYERS).round().astype(int)]
    return chosen


def _by_layer(
    history: History, statistic: str, title: str, steps: int | None, *reference: float
) -> Spec:
    chosen = layers(history.layout.names)
    end = horizon([history], steps)
    data: list[dict[str, Any]] = []
    for name, color in zip(chosen, theme.depth(len(chosen)), strict=True):
        x, y = history.statistic(statistic, name)
        index = thin(len(y), 200)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name.removesuffix(".weight"),
                "x": x[index],
                "y": positive(y[index]),
                "line": {"color": color, "width": 1.5},
                "hovertemplate": f"{name}<br>step %{{x}}: %{{y:.5g}}<extra></extra>",
            }
        )
    shown = [trace["y"] for trace in data]
    span = decades(*shown, np.array(reference))
    layout = theme.layout(f"{title} by layer")
    layout["xaxis"] = step_axis(end)
    layout["yaxis"] = log_axis(title, span)
    return {"data": data, "layout": layout | events([history], end, layout)}
