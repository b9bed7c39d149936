"""Numbers that describe the weights of a tensor at many moments at once."""

from __future__ import annotations

import math

import numpy as np

from labkit.training.layout import Layout

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STATISTICS = (
    "mean",
    "std",
    "min",
    "max",
    "norm",
    "gradient_norm",
    "update_ratio",
    "distance",
)


def describe(
    weights: np.ndarray,
    gradients: np.ndarray,
    updates: np.ndarray,
    initial: np.ndarray,
    norm_before: np.ndarray,
) -> np.ndarray:
    """STATISTICS of one tensor at many moments, `(..., 8)`.

    Args:
        weights: `(..., count)`, after each update.
        gradients, updates: of the same shape.
        initial: the weights that distances are measured from; it may be broadcast.
        norm_before: L2 norms before each update, `(...)`; or of the first one alone, `(1,)`,
            where each moment follows the one before it on the first axis.
    """
    count = weights.shape[-1]
    mean = weights.mean(axis=-1)
    std = norms(weights - mean[..., None]) / math.sqrt(count)
    norm = norms(weights)
    if len(norm_before) < len(weights):
        norm_before = np.concatenate([norm_before, norm[:-1]])
    ratio = np.where(norm_before > 0, norms(updates) / norm_before, np.nan)
    columns = [mean, std, weights.min(axis=-1), weights.max(axis=-1), norm]
    columns += [norms(gradients), ratio, norms(weights - initial)]
    return np.stack(columns, axis=-1)


def describe_tensors(
    layout: Layout,
    weights: np.ndarray,
    gradients: np.ndarray,
    updates: np.ndarray,
    initial: np.ndarray,
    before: np.ndarray,
) -> np.ndarray:
    """STATISTICS of every tensor of a layout at many moments, `(..., tensors, 8)`.

    Args:
        layout: how the tensors lie along the last axis.
        weights: `(..., total)`, after each update.
        gradients, updates: of the same shape.
        initial: the weights that distances are measured from; it may be broadcast.
        before: the weights before each update, `(..., total)`; or before the first one
            alone, `(1, total)`, where each moment follows the one before it on the first axis.
    """
    table = np.empty((*weights.shape[:-1], len(layout.names), len(STATISTICS)), np.float32)
    with np.errstate(all="ignore"):  # a diverging run overflows; its statistics show it
        for i, name in enumerate(layout.names):
            span = layout.span(name)
            w, g, u = (values[..., span] for values in (weights, gradients, updates))
            table[..., i, :] = describe(w, g, u, initial[..., span], norms(before[..., span]))
    return table


def quantiles(rows: np.ndarray) -> np.ndarray:
    """QUANTILES of each row, interpolated linearly, as `numpy.quantile` does by default.

    One sort for all of them is faster than numpy's partition for each. A row with a NaN
    has no quantiles, as in numpy.
    """
    last = rows.shape[1] - 1
    ordered = np.sort(rows, axis=1)  # NaN comes last
    ordered[np.isnan(ordered[:, -1])] = np.nan
    places = np.array(QUANTILES) * last
    below = places.astype(int)
    share = (places - below).astype(np.float32)
    lower, upper = ordered[:, below], ordered[:, np.minimum(below + 1, last)]
    with np.errstate(all="ignore"):  # infinities and huge numbers of a diverging run
        return lower + (upper - lower) * share


def norms(rows: np.ndarray) -> np.ndarray:
    """L2 norms along the last axis."""
    return np.sqrt(np.vecdot(rows, rows))
