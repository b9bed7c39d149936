"""How far tensors moved against how large their weights were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import log_axis
from labkit.figures.base import Spec, decades, figure, positive

if TYPE_CHECKING:  # torch stays out of figures
    from labkit.weights.compare import Change


@figure
def change_by_size(changes: Sequence[Change], *, height: int = theme.HEIGHT) -> Spec:
    """A mark for each tensor: the typical size of its values before, and how far it moved.

    Colours go from the first tensor (blue) to the last (vermillion). On the dashed line every
    value has moved by as much as in the median tensor; where steps have one size everywhere,
    all marks lie along it.

    Args:
        changes: from `labkit.weights.compare`, in order of depth. Those that did not move, or
            were all zero before, are left out.
        height: in pixels.
    """
    moved = [c for c in changes if np.isfinite(c.relative) and c.relative > 0 and c.count]
    roots = np.sqrt([max(1, change.count) for change in moved])
    relative = np.array([change.relative for change in moved])
    step = np.array([change.distance for change in moved]) / roots
    size = step / relative if len(moved) else step
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "tensors",
        "x": positive(size),
        "y": positive(relative),
        "customdata": [change.name for change in moved],
        "marker": {"color": theme.depth(len(moved)), "size": 7, "opacity": 0.8},
        "hovertemplate": "%{customdata}<br>size %{x:.3g}, moved by %{y:.3g} of it<extra></extra>",
    }
    across, down = decades(size), decades(relative)
    ends = 10.0 ** np.array(across)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "steps of one size",
        "x": ends,
        "y": positive((float(np.median(step)) if len(moved) else np.nan) / ends),
        "line": {"color": theme.INK, "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }
    layout = theme.layout("Change of each tensor against the size of its weights", height=height)
    layout["xaxis"] = log_axis("typical size of a weight before (root mean square)", across)
    layout["yaxis"] = log_axis("distance / norm before", down)
    return {"data": [trace, line], "layout": layout}
