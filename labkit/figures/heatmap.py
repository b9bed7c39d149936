"""One layer's weights as a picture: matrices, convolution kernels, biases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, bound, figure, finite, nice

if TYPE_CHECKING:
    from labkit.training.history import History

CELLS = 256  # the most cells on a side; of a larger tensor, evenly spaced units are shown


@figure
def weight_heatmap(history: History, tensor: str, step: int | None = None) -> Spec:
    """One tensor of a run, now or at the kept step nearest to `step`.

    Raises:
        KeyError: no such tensor.
    """
    history.layout.span(tensor)
    return tensor_heatmap.spec(history.weights(step)[tensor], name=tensor)


@figure
def tensor_heatmap(
    values: np.ndarray, *, name: str = "weight", beyond: float = 0.0, kernel_rows: int = CELLS
) -> Spec:
    """Any tensor as a picture: blue is positive, orange negative, zero fades into the page.

    A matrix has a row for each unit it leads to and a column for each it comes from;
    convolution kernels are small pictures in the same order; a vector is one row. The
    colour range is symmetric around zero and no finite weight exceeds it.

    Args:
        values: `(to, from)`, `(to, from, height, width)`, or of any other shape, which is
            shown as `(to, everything else)`.
        name: the tensor's name, for the axes.
        beyond: the share of the weights that may exceed the colour range, where a few large
            ones would make all others pale; the colour bar says so.
        kernel_rows: the most rows of cells of kernels.
    """
    values = np.asarray(values)
    if not values.size:  # one empty cell
        values = np.full((1, 1), np.nan)
    kernels = values.ndim == 4 and values.shape[2:] != (1, 1)
    picture = _kernels(values, kernel_rows) if kernels else _matrix(values)
    x, y, cells, text, titles, extra = picture
    largest = bound(cells)
    sizes = np.abs(cells[np.isfinite(cells)]) if beyond else np.empty(0)
    usual = nice(np.quantile(sizes, 1 - beyond)) if sizes.any() else largest
    words: dict[str, Any] = {}
    if 0 < usual < largest:
        ends = [
            f"−{usual:g} or less",
            f"{-usual / 2:g}",
            "0",
            f"{usual / 2:g}",
            f"{usual:g} or more",
        ]
        largest, words = usual, {"ticktext": ends}
    trace: dict[str, Any] = {
        "type": "heatmap",
        **extra,
        "x": x,
        "y": y,
        "z": cells.astype(np.float32),
        "zmin": -largest,
        "zmax": largest,
        "colorscale": theme.DIVERGING,
        "colorbar": {
            "title": {"text": name, "side": "right", "font": {"size": 12}},
            "thickness": 12,
            "outlinewidth": 0,
            "tickvals": [-largest, -largest / 2, 0, largest / 2, largest],
            **words,
        },
        "hoverongaps": False,
        "hovertemplate": f"{text}: %{{z:.6g}}<extra></extra>",
    }
    layout = theme.layout(f"Heat map of {name}", legend=False)
    layout["xaxis"] = _side(titles[0], x)
    layout["yaxis"] = _side(titles[1], y, down=True)
    if "customdata" in extra:  # wrapped kernels: a column is no channel
        layout["xaxis"]["tickvals"] = []
    if kernels:  # of square cells
        layout["xaxis"]["constrain"] = layout["yaxis"]["constrain"] = "domain"
        layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": _pitch(x) / _pitch(y)}
    return {"data": [trace], "layout": layout}


@figure
def tensor_change(
    values: np.ndarray, before: np.ndarray, *, name: str = "weight", **more: Any
) -> Spec:
    """What was added to a tensor since before, as `tensor_heatmap` shows weights.

    Args:
        values, before: of the same shape.
        name: the tensor's name, for the axes.
        more: as for `tensor_heatmap`.
    """
    with np.errstate(invalid="ignore"):  # a diverging run has infinities
        added = np.asarray(values, np.float64) - np.asarray(before, np.float64)
    return tensor_heatmap.spec(added, name=f"change of {name}", **more)


# Coordinates, cells, how the hover text names a cell, axis titles, and more of the trace.
Picture = tuple[np.ndarray, np.ndarray, np.ndarray, str, tuple[str, str], dict[str, Any]]


def _matrix(values: np.ndarray) -> Picture:
    if values.ndim < 2:
        cells = finite(values.reshape(1, -1))
        every = math.ceil(cells.shape[1] / CELLS)
        x = np.arange(0, cells.shape[1], every, dtype=np.float64)
        title = "unit" + _skipping(every)
        return x, np.zeros(1), cells[:, ::every], "unit %{x}", (title, ""), {}
    values = values.reshape(values.shape[0], -1)
    down, across = (math.ceil(length / CELLS) for length in values.shape)
    cells = finite(values[::down, ::across])
    x = np.arange(0, values.shape[1], across, dtype=np.float64)
    y = np.arange(0, values.shape[0], down, dtype=np.float64)
    titles = "from unit" + _skipping(across), "to unit" + _skipping(down)
    return x, y, cells, "from %{x} to %{y}", titles, {}


def _kernels(values: np.ndarray, most: int) -> Picture:
    """Kernels side by side with one empty cell between them.

    The coordinates of a kernel's cells lie around its channel's whole number, less than one
    half away: so the axis counts channels, and the hover text rounds to them.
    """
    if values.shape[1] == 1:  # one input channel: the kernels are wrapped like text
        return _wrapped(values[:, 0])
    names = ["from channel", "to channel"]
    if len(values) > values.shape[1]:  # wide rather than tall
        values, names = values.transpose(1, 0, 2, 3), names[::-1]
    rows, columns, high, wide = values.shape
    down = max(1, math.ceil(rows * (high + 1) / most))
    across = max(1, math.ceil(columns * (wide + 1) / CELLS))
    values = values[::down, ::across]
    cells = np.full((len(values), high + 1, values.shape[1], wide + 1), np.nan)
    cells[:, :high, :, :wide] = finite(values.transpose(0, 2, 1, 3))
    cells = cells.reshape(len(values) * (high + 1), -1)[:-1, :-1]
    x = _channels(cells.shape[1], wide, across)
    y = _channels(cells.shape[0], high, down)
    text = f"{names[0]} %{{x:.0f}} {names[1]} %{{y:.0f}}"
    titles = names[0] + _skipping(across), names[1] + _skipping(down)
    return x, y, cells, text, titles, {}


def _channels(cells: int, side: int, every: int) -> np.ndarray:
    """Coordinates of cells whose kernels of `side` cells, and a gap each, count channels."""
    return every * ((np.arange(cells) - (side - 1) / 2) / (side + 1))


def _pitch(places: np.ndarray) -> float:
    return float(places[1] - places[0]) if len(places) > 1 else 1.0


def _wrapped(kernels: np.ndarray) -> Picture:
    count, high, wide = kernels.shape
    columns = min(count, max(1, math.ceil(math.sqrt(2 * count))))
    rows = math.ceil(count / columns)
    cells = np.full((rows * columns, high + 1, wide + 1), np.nan)
    cells[:count, :high, :wide] = finite(kernels)
    cells = cells.reshape(rows, columns, high + 1, wide + 1).transpose(0, 2, 1, 3)
    cells = cells.reshape(rows * (high + 1), -1)[:-1, :-1]
    x, y = _channels(cells.shape[1], wide, 1), _channels(cells.shape[0], high, 1)
    across, down = np.rint(x).astype(np.int32), np.rint(y).astype(np.int32)
    channel = columns * down[:, None] + across
    words = f"to channel 0 to {count - 1}, {columns} in a row"
    return x, y, cells, "to channel %{customdata}", (words, ""), {"customdata": channel}


def _skipping(every: int) -> str:
    return f" (1 in {every} shown)" if every > 1 else ""


def _side(title: str, places: np.ndarray, *, down: bool = False) -> dict[str, Any]:
    """An axis that just holds all cells, with ticks at whole numbers."""
    half = (places[1] - places[0]) / 2 if len(places) > 1 else 0.5
    low, high = places[0] - half, places[-1] + half
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    every = _tick(last - first)
    ticks = list(range(max(0, first), last + 1, every))
    return axis(
        title,
        [high, low] if down else [low, high],
        showgrid=False,
        tickvals=ticks if title else [],
    )


def _tick(length: int) -> int:
    """A tick distance that leaves at most nine: a power of two, as widths of layers are."""
    return 1 << max(0, math.ceil(math.log2(max(1, length / 8))))
