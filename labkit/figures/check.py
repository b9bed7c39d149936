"""A learner's optimizer beside torch's: one weight over the steps, as each moves it."""

from __future__ import annotations

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, finite, limits, thin


@figure
def step_check(
    yours: np.ndarray, theirs: np.ndarray, name: str, first: int | None, *, height: int = 260
) -> Spec:
    """One weight over the steps, as a learner's function and as torch's optimizer moved it.

    Args:
        yours, theirs: the weight after each step, `(steps + 1,)` each.
        name: of the reference optimizer, for the legend.
        first: the first step that differs, or None.
        height: in pixels.
    """
    index = thin(len(theirs))
    hover = "<br>after step %{x}: %{y:.6g}<extra></extra>"
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": words,
            "x": index,
            "y": finite(values)[index],
            "line": {"color": color, "width": width, "dash": dash},
            "hovertemplate": words + hover,
        }
        for words, values, color, width, dash in (
            (name, theirs, theme.rgba(theme.BLUE, 0.45), 6, "solid"),
            ("yours", yours, theme.VERMILLION, 2, "solid"),
        )
    ]
    span = limits(theirs, yours)
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "first difference",
            "x": np.array([first or 0] * 2),
            "y": np.array(span),
            "line": {"color": theme.LINE, "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
            "visible": first is not None,
        }
    )
    layout = theme.layout("One weight, as two optimizers move it", height=height)
    layout["xaxis"] = axis("step", [0, max(1, len(theirs) - 1)])
    layout["yaxis"] = axis("one weight", span)
    return {"data": data, "layout": layout}
