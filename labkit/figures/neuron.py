"""One neuron: its line through the points, and its weight and bias on a map of the loss."""

from __future__ import annotations

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure

FLOOR = 1e-4  # smaller losses have the same colour: without noise the lowest is 0, which has no log


@figure
def neuron_line(x: np.ndarray, y: np.ndarray, weight: float, bias: float, loss: float) -> Spec:
    """The points, the neuron's line, and each point's error as a thin stroke.

    Args:
        x, y: the points, `(n,)` each.
        weight, bias: the knobs.
        loss: mean squared error, for screen readers.
    """
    predicted = weight * x + bias
    gaps_x = np.repeat(x, 3)
    gaps_y = np.stack([y, predicted, np.full_like(y, np.nan)], axis=1).ravel()
    ends = np.array([-1.1, 1.1])
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": gaps_x,
            "y": gaps_y,
            "line": {"color": theme.LINE, "width": 1},
            "name": "errors",
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": x,
            "y": y,
            "marker": {"color": theme.BLUE, "size": 7},
            "name": "target points",
            "hovertemplate": "input %{x:.3f}<br>target %{y:.3f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": ends,
            "y": weight * ends + bias,
            "line": {"color": theme.VERMILLION, "width": 3},
            "name": "the neuron's output",
            "hovertemplate": "input %{x:.3f}<br>output %{y:.3f}<extra></extra>",
        },
    ]
    layout = theme.layout(f"A neuron's line through points; mean squared error {loss:.3g}")
    layout["xaxis"] = axis("input (no unit)", [-1.1, 1.1])
    layout["yaxis"] = axis("output (no unit)", [-4, 4])
    return {"data": data, "layout": layout}


@figure
def neuron_surface(
    knob: np.ndarray, losses: np.ndarray, weight: float, bias: float, path: np.ndarray
) -> Spec:
    """The loss at every position of the two knobs, their path so far, and their position.

    Args:
        knob: positions, `(n,)`, of both knobs.
        losses: mean squared errors, `(n, n)`, rows by bias.
        weight, bias: the present position of the knobs.
        path: earlier positions, `(k, 2)`.
    """
    data = [
        {
            "type": "heatmap",
            "x": knob,
            "y": knob,
            "z": np.log10(np.maximum(losses, FLOOR)).astype(np.float32),
            "colorscale": theme.SEQUENTIAL,
            "reversescale": True,
            "showscale": False,
            "customdata": losses,
            "hovertemplate": (
                "weight %{x:.2f}<br>bias %{y:.2f}<br>loss %{customdata:.4g}<extra></extra>"
            ),
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": path[:, 0],
            "y": path[:, 1],
            "line": {"color": theme.VERMILLION, "width": 2},
            "name": "path",
            "hovertemplate": "weight %{x:.3f}<br>bias %{y:.3f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": np.array([weight]),
            "y": np.array([bias]),
            "marker": {"color": theme.VERMILLION, "size": 12},
            "name": "your knobs",
            "hovertemplate": "weight %{x:.3f}<br>bias %{y:.3f}<extra></extra>",
        },
    ]
    layout = theme.layout("The loss at every position of the two knobs: dark is low")
    span = [float(knob[0]), float(knob[-1])]
    layout["xaxis"] = axis("weight", span, constrain="domain", showgrid=False)
    layout["yaxis"] = axis("bias", span, scaleanchor="x", constrain="domain", showgrid=False)
    return {"data": data, "layout": layout}
