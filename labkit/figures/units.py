"""The units of one layer at several steps: whether they become different from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, bound, figure, finite

if TYPE_CHECKING:
    from labkit.training.history import History

CELLS = 128  # the most cells on a side of one picture
GAP = 0.03
ROUNDING = 1e-2  # share of the largest weight: units that differ by less began equal


@figure
def unit_rows(histories: Mapping[str, History], tensor: str, steps: Sequence[int]) -> Spec:
    """A weight matrix at several steps, one line of pictures per run: each row is a unit.

    Where all units are equal, a picture has vertical stripes only. The pictures of a line
    share a colour range: blue is positive, orange negative.

    Args:
        histories: the runs, by the name above their line.
        tensor: a tensor of two dimensions or more, in each of them.
        steps: at each, the nearest kept snapshot is shown.

    Raises:
        KeyError: no such tensor.
    """
    for history in histories.values():
        history.layout.span(tensor)
    lines, columns = len(histories), len(steps)
    high, wide = _share(lines, 0.12), _share(columns, GAP)
    layout = theme.layout(
        f"Rows of {tensor} at steps {', '.join(map(str, steps))}",
        legend=False,
        height=70 + 170 * max(1, lines),
    )
    layout["margin"] = {**layout["margin"], "t": 52, "l": 60}
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for i, (name, history) in enumerate(histories.items()):
        top = 1 - i * (high + 0.12)
        matrices = [_matrix(history.weights(step)[tensor]) for step in steps]
        largest = bound(*matrices)
        for j, (step, matrix) in enumerate(zip(steps, matrices, strict=True)):
            suffix = "" if i == j == 0 else str(i * columns + j + 1)
            left = j * (wide + GAP)
            layout[f"xaxis{suffix}"] = axis(
                "from unit" if i == lines - 1 else "",
                [-0.5, matrix.shape[1] - 0.5],
                domain=[left, min(1.0, left + wide)],
                anchor=f"y{suffix}",
                showgrid=False,
                showticklabels=i == lines - 1,
                nticks=5,
            )
            layout[f"yaxis{suffix}"] = axis(
                "to unit" if j == 0 else "",
                [matrix.shape[0] - 0.5, -0.5],
                domain=[max(0.0, top - high), top],
                anchor=f"x{suffix}",
                showgrid=False,
                showticklabels=j == 0,
                nticks=5,
            )
            data.append(
                {
                    "type": "heatmap",
                    "z": matrix.astype(np.float32),
                    "x": np.arange(matrix.shape[1], dtype=np.float64),
                    "y": np.arange(matrix.shape[0], dtype=np.float64),
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                    "zmin": -largest,
                    "zmax": largest,
                    "colorscale": theme.DIVERGING,
                    "showscale": False,
                    "hovertemplate": f"{name}, step {step}<br>from %{{x}} to %{{y}}: "
                    "%{z:.6g}<extra></extra>",
                }
            )
            text = f"step {step}: {_difference(matrix)}"
            notes.append(_note(f"<b>{name}</b>, {text}" if j == 0 else text, left, top))
    return {"data": data, "layout": layout | {"annotations": notes}}


def _share(count: int, gap: float) -> float:
    return (1 - gap * (count - 1)) / max(1, count)


def _matrix(values: np.ndarray) -> np.ndarray:
    values = finite(values.reshape(len(values), -1))
    down, across = (-(-length // CELLS) for length in values.shape)
    return values[::down, ::across]


def _difference(matrix: np.ndarray) -> str:
    """In words, the largest difference between a weight of a unit and that of the first unit."""
    gaps = np.abs(matrix - matrix[0])
    distance = float(np.nanmax(gaps)) if np.isfinite(gaps).any() else 0.0
    if distance == 0:
        return "all rows equal"
    # Sums in another order round differently, and Adam makes steps of the smallest gradients.
    rounding = distance < ROUNDING * np.nanmax(np.abs(matrix))
    return "rows equal up to rounding" if rounding else f"rows differ by {distance:.2g}"


def _note(text: str, x: float, y: float) -> dict[str, Any]:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left"}
    return {**place, "yanchor": "bottom", "text": text, "showarrow": False, "font": {"size": 12}}
