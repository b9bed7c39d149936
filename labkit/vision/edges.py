"""How much of a filter is an edge: what first layers learn to look for."""

from __future__ import annotations

import numpy as np


def edge_shares(filters: np.ndarray) -> np.ndarray:
    """The share of each filter that rises evenly in one direction, and so answers to edges.

    Each colour of a filter is split into a constant, a slope across and a slope down (the
    plane that fits it best), and the rest. The share is that of the two slopes in the sum of
    all squares: 1 for an even slope, 0 for a constant one, and 2 of k·k, on average, for
    k by k random numbers.

    Args:
        filters: (out, in, height, width).

    Returns:
        (out,) in 0 to 1; NaN where a filter is zero.
    """
    filters = np.asarray(filters, np.float64)
    high, wide = filters.shape[2:]
    across = np.tile(np.arange(wide) - (wide - 1) / 2, (high, 1))
    down = np.tile((np.arange(high) - (high - 1) / 2)[:, None], (1, wide))
    total = (filters**2).sum((1, 2, 3))
    slopes = sum(
        (np.einsum("ochw,hw->oc", filters, slope / np.linalg.norm(slope)) ** 2).sum(1)
        for slope in (across, down)
    )
    return np.divide(slopes, total, out=np.full(len(filters), np.nan), where=total > 0)
