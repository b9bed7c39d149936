"""Filters that look at colours, as the pictures they answer to."""

from __future__ import annotations

import math

import numpy as np

from labkit.figures import theme
from labkit.figures.base import Spec, bound, figure, finite

TILE = 56  # pixels of a filter on the page, at the least
FINE = 12  # cells of a filter's side, at the least: the gap between two filters is one


@figure
def filter_images(values: np.ndarray, *, name: str = "", alike: bool = False) -> Spec:
    """The filters of a layer that sees colours, side by side: a tile each, as a picture.

    Zero is middle grey; a weight that asks for more red, green or blue makes a tile redder,
    greener or bluer there, and one that asks for less makes it the opposite. A filter that
    is all grey is not there.

    Args:
        values: `(filters, 3, height, width)`, for red, green and blue.
        name: of the tensor, for a screen reader.
        alike: one scale for all filters, so that strong ones stand out; otherwise each has
            its own, so that weak ones can be read.

    Raises:
        ValueError: not three colours.
    """
    values = np.asarray(values)
    if values.ndim != 4 or values.shape[1] != 3:
        raise ValueError(f"colours need (filters, 3, height, width), not {values.shape}")
    weights = np.nan_to_num(finite(values))
    count, _, high, wide = weights.shape
    strength = np.abs(weights).reshape(count, -1).max(axis=1)
    scale = np.full(count, bound(weights)) if alike else np.where(strength > 0, strength, 1.0)
    pixels = np.round(127.5 * (1 + weights / scale[:, None, None, None]))
    times = math.ceil(FINE / max(high, wide))
    pixels = pixels.repeat(times, axis=2).repeat(times, axis=3)
    _, _, high, wide = pixels.shape
    columns = min(count, max(1, math.ceil(math.sqrt(2 * count))))
    rows = math.ceil(count / columns)
    picture = np.zeros((rows * columns, high + 1, wide + 1, 4), np.uint8)  # between: clear
    picture[:count, :high, :wide, :3] = pixels.transpose(0, 2, 3, 1)
    picture[:count, :high, :wide, 3] = 255
    told = np.full((rows * columns, high + 1, wide + 1), "", object)
    norms = np.linalg.norm(weights.reshape(count, -1), axis=1)
    for k, (norm, largest) in enumerate(zip(norms, strength, strict=True)):
        told[k] = f"filter {k}<br>norm {norm:.4g}<br>largest weight {largest:.4g}"
    picture, told = (_tiled(cells, rows, columns) for cells in (picture, told))
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
        "text": told.tolist(),
        "hovertemplate": "%{text}<extra></extra>",
    }
    return {"data": [trace], "layout": layout}


def _tiled(cells: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """`(rows * columns, h, w, ...)` as one picture, without the gap after the last of each."""
    _, high, wide, *rest = cells.shape
    grid = cells.reshape(rows, columns, high, wide, *rest).swapaxes(1, 2)
    return grid.reshape(rows * high, columns * wide, *rest)[:-1, :-1]
