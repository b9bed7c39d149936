"""Filters of a layer that sees colours, each drawn as the picture it responds to most."""

from __future__ import annotations

import math

import numpy as np

from labkit.figures import theme
from labkit.figures.base import Spec, figure, finite

TILE = 56  # pixels of a filter on the page, at least
FINE = 12  # cells along a filter's side, at least: the gap between two filters is one cell


@figure
def filter_images(values: np.ndarray, *, name: str = "") -> Spec:
    """The filters of a layer that sees colours, side by side: a tile each, as a picture.

    Zero is middle grey. A positive weight of the red input makes its cell redder, a negative
    one less red; the same holds for green and blue. Each filter has a scale of its own, so that
    weak filters can be seen; the hover text gives its norm and largest weight.

    Args:
        values: `(filters, 3, height, width)`, for red, green and blue.
        name: of the tensor, for screen readers.

    Raises:
        ValueError: the filters do not have three input channels.
    """
    values = np.asarray(values)
    if values.ndim != 4 or values.shape[1] != 3:
        raise ValueError(f"colours need (filters, 3, height, width), not {values.shape}")
    weights = np.nan_to_num(finite(values))
    count, _, high, wide = weights.shape
    strength = np.abs(weights).reshape(count, -1).max(axis=1)
    scale = np.where(strength > 0, strength, 1.0)
    pixels = np.round(127.5 * (1 + weights / scale[:, None, None, None]))
    times = math.ceil(FINE / max(high, wide))
    pixels = pixels.repeat(times, axis=2).repeat(times, axis=3)
    _, _, high, wide = pixels.shape
    columns = min(count, max(1, math.ceil(math.sqrt(2 * count))))
    rows = math.ceil(count / columns)
    picture = np.zeros((rows * columns, high + 1, wide + 1, 4), np.uint8)  # clear: the gaps
    picture[:count, :high, :wide, :3] = pixels.transpose(0, 2, 3, 1)
    picture[:count, :high, :wide, 3] = 255
    hovers = np.full((rows * columns, high + 1, wide + 1), "", object)
    norms = np.linalg.norm(weights.reshape(count, -1), axis=1)
    for k, (norm, largest) in enumerate(zip(norms, strength, strict=True)):
        hovers[k] = f"filter {k}<br>norm {norm:.4g}<br>largest weight {largest:.4g}"
    picture, hovers = (_tiled(cells, rows, columns) for cells in (picture, hovers))
    layout = theme.layout(f"Filters of {name}" if name else "Filters", legend=False)
    side = max(TILE, 340 // rows)
    layout["height"] = rows * side + 24
    layout["margin"] = {"l": 10, "r": 10, "t": 12, "b": 12}
    blank = {"visible": False, "constrain": "domain"}
    layout["xaxis"] = {**blank, "range": [-0.5, picture.shape[1] - 0.5]}
    layout["yaxis"] = {**blank, "range": [picture.shape[0] - 0.5, -0.5], "scaleanchor": "x"}
    trace = {
        "type": "image",
        "z": picture.tolist(),
        "colormodel": "rgba256",
        "text": hovers.tolist(),
        "hovertemplate": "%{text}<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def _tiled(cells: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """`(rows * columns, h, w, ...)` as one picture, without the gap after the last of each."""
    _, high, wide, *rest = cells.shape
    grid = cells.reshape(rows, columns, high, wide, *rest).swapaxes(1, 2)
    return grid.reshape(rows * high, columns * wide, *rest)[:-1, :-1]
