"""Forgetting: mAP50 on the old and on the new classes while a detector is fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, finite
from labkit.figures.finetuning import epoch_axis

Dict = dict[str, Any]
Curves = tuple[Sequence[float], Sequence[float], Sequence[float]]

_SIDES = ((0.0, 0.47), (0.53, 1.0))


@figure
def forgetting_curves(runs: Mapping[str, Curves], *, height: int = 360) -> Spec:
    """Old classes on the left, new ones on the right, over the epochs; a colour for each run.

    Args:
        runs: by name: epochs, and mAP50 after each on the old and on the new classes, from
            0 to 1.
        height: in pixels.
    """
    data: list[Dict] = []
    last = 1.0
    for number, (name, (epochs, *both)) in enumerate(runs.items()):
        color = theme.CATEGORIES[number % len(theme.CATEGORIES)]
        last = max(last, float(np.max(epochs, initial=1.0)))
        for side, (values, suffix) in enumerate(zip(both, ("", "2"), strict=True)):
            words = f"{name}, {('old', 'new')[side]} classes"
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "cliponaxis": False,
                    "name": name,
                    "legendgroup": name,
                    "showlegend": side == 0,
                    "x": finite(np.asarray(epochs)),
                    "y": finite(np.asarray(values)),
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                    "line": {"color": color, "width": 2.5},
                    "marker": {"color": color, "size": 6},
                    "hovertemplate": f"{words}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
                }
            )
    layout = theme.layout("mAP50 on old and on new classes", height=height)
    rows = 1 + sum(len(name) + 8 for name in runs) // 90
    layout["margin"] = {**theme.MARGIN, "t": 36 + 20 * rows}
    layout["legend"] = {**theme.LEGEND, "y": 1.09}
    notes = []
    for side, suffix in enumerate(("", "2")):
        layout[f"xaxis{suffix}"] = epoch_axis(last, domain=list(_SIDES[side]), anchor=f"y{suffix}")
        layout[f"yaxis{suffix}"] = axis(
            "mAP50 on validation images" if side == 0 else "",
            [0, 1.03],
            anchor=f"x{suffix}",
        )
        title = {"text": f"<b>{('old', 'new')[side]} classes</b>", "showarrow": False}
        place = {"x": sum(_SIDES[side]) / 2, "y": 1.0, "xref": "paper", "yref": "paper"}
        notes.append(title | place | {"yanchor": "bottom", "xanchor": "center"})
    layout["annotations"] = notes
    return {"data": data, "layout": layout}


@figure
def forgetting_map(runs: Mapping[str, Curves], *, height: int = 400) -> Spec:
    """mAP50 on the old classes against mAP50 on the new ones: a path for each run.

    A path has a point for each epoch, and a large one at its end. In the upper right corner
    everything new is learnt and nothing is forgotten.

    Args:
        runs, height: as in `forgetting_curves`.
    """
    data: list[Dict] = []
    for number, (name, (epochs, old, new)) in enumerate(runs.items()):
        color = theme.CATEGORIES[number % len(theme.CATEGORIES)]
        sizes = [5.0] * len(epochs)
        if sizes:
            sizes[-1] = 12.0
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "cliponaxis": False,
                "name": name,
                "x": finite(np.asarray(new)),
                "y": finite(np.asarray(old)),
                "customdata": np.asarray(epochs, np.float64),
                "line": {"color": color, "width": 1.5},
                "marker": {"color": color, "size": sizes},
                "hovertemplate": f"{name}<br>epoch %{{customdata}}: new %{{x:.3f}}, "
                "old %{y:.3f}<extra></extra>",
            }
        )
    layout = theme.layout("mAP50 kept on old classes against new ones", height=height)
    rows = 1 + sum(len(name) + 8 for name in runs) // 90
    layout["margin"] = {**theme.MARGIN, "t": 16 + 20 * rows}
    layout["xaxis"] = axis("mAP50 on the new classes", [0, 1.03])
    layout["yaxis"] = axis("mAP50 on the old classes", [0, 1.03])
    return {"data": data, "layout": layout}
