"""A gradient check as pictures: which gradients are wrong, and the error of the check itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, decades, figure


@figure
def gradient_errors(
    errors: Mapping[str, float], tolerance: float, *, eps: float | None = None
) -> Spec:
    """The relative error of each tensor's gradient, and the tolerance.

    Args:
        errors: by the tensor's name.
        tolerance: above it a gradient is wrong.
        eps: how far the weights were moved, for the title.
    """
    floor = 1e-13
    values = np.array([max(value, floor) for value in errors.values()])
    wrong = [value > tolerance for value in errors.values()]
    data = [
        {
            "type": "bar",
            "x": list(errors),
            "y": values,
            "marker": {"color": [theme.VERMILLION if w else theme.GREEN for w in wrong]},
            "text": [f"{value:.0e}" for value in errors.values()],
            "textposition": "outside",
            "customdata": ["wrong" if w else "correct" for w in wrong],
            "hovertemplate": "%{x}: relative error %{text}, %{customdata}<extra></extra>",
        }
    ]
    words = "" if eps is None else f", ε = {eps:g}"
    layout = theme.layout(f"Relative error of each tensor's gradient{words}", legend=False)
    layout["xaxis"] = axis("tensor", [-0.6, len(errors) - 0.4], type="category")
    layout["yaxis"] = log_axis("relative error", [np.log10(floor), 1.2])
    line = {"color": theme.WARNING, "width": 1, "dash": "dash"}
    ends = {"x0": 0, "x1": 1, "y0": tolerance, "y1": tolerance}
    layout["shapes"] = [{"type": "line", "xref": "paper", "yref": "y", "line": line, **ends}]
    note = {"x": 1, "xref": "paper", "xanchor": "right", "yanchor": "bottom", "showarrow": False}
    note |= {"y": np.log10(tolerance), "yref": "y", "text": "above: wrong"}
    layout["annotations"] = [note | {"font": {"size": 12}}]
    return {"data": data, "layout": layout}


@figure
def check_by_eps(
    eps: np.ndarray, errors: Mapping[str, np.ndarray], *, at: float | None = None
) -> Spec:
    """The check's own error against ε: a large ε truncates too much, a small one rounds.

    Args:
        eps: `(n,)`.
        errors: the worst relative error `(n,)` by precision.
        at: the ε in use, marked by a line.
    """
    data = []
    for (name, values), color in zip(errors.items(), (theme.BLUE, theme.VERMILLION), strict=False):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": np.asarray(eps),
                "y": np.where(np.asarray(values) > 0, values, np.nan),
                "line": {"color": color, "width": 2},
                "marker": {"color": color, "size": 5},
                "hovertemplate": f"{name}, ε = %{{x:.0e}}: error %{{y:.1e}}<extra></extra>",
            }
        )
    layout = theme.layout("The check's error against the size of its step")
    span = decades(np.asarray(eps))
    layout["xaxis"] = log_axis("ε, how far each weight is moved", span)
    layout["yaxis"] = log_axis("worst relative error", [-13, 1.2])
    if at is not None:
        line = {"color": theme.TEXT, "width": 1, "dash": "dot"}
        ends = {"x0": at, "x1": at, "y0": 0, "y1": 1}
        layout["shapes"] = [{"type": "line", "xref": "x", "yref": "paper", "line": line, **ends}]
    return {"data": data, "layout": layout}
