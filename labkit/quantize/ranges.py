"""The range of a grid: four ways to weigh clipping a few values against rounding all.

Each takes rows `(channels, values)` of finite float32 numbers and returns the lowest and the
highest value that should still have a level, `(channels, 1)` each. A symmetric grid then uses
the larger magnitude of the two on both sides.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labkit.core.errors import LabError
from labkit.quantize.rounding import on_grid, step
from labkit.quantize.scheme import FORMATS, Bits, Scheme

SHRINK = 0.94  # each range that is tried is this share of the one before …
TRIED = 64  # … down to a fiftieth of the largest value,
FINE = 9  # and this many are tried around the best
BINS_PER_LEVEL = 16  # 2048 bins for 128 levels, as in TensorRT
MOST_BINS = 2048
STEPS = 64  # thresholds that are tried


def find_range(rows: Tensor, bits: Bits, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The lowest and the highest value of each row's grid, by the scheme's method.

    Args:
        rows: `(channels, values)`.
        bits, scheme: of the grid.

    Returns:
        `(channels, 1)` each.

    Raises:
        LabError: entropy for a floating-point format, whose levels are not even.
    """
    if isinstance(bits, str):
        if FORMATS[bits].itemsize == 2:
            return min_max(rows)  # a plain cast has no range to choose
        if scheme.ranges == "entropy":
            raise LabError(
                f"entropy ranges need integer levels, all equally far apart: for {bits} choose "
                "min-max, percentile or mse."
            )
    if scheme.ranges == "percentile":
        return percentile(rows, scheme)
    if scheme.ranges == "mse":
        return mse(rows, bits, scheme)
    if scheme.ranges == "entropy":
        assert isinstance(bits, int)
        return entropy(rows, bits, scheme)
    return min_max(rows)


def min_max(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The whole range: nothing is clipped, and one outlier makes all steps wide."""
    low, high = torch.aminmax(rows, dim=1, keepdim=True)
    return low, high


def percentile(rows: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Leave out the outermost values: of the magnitudes where the grid is symmetric, else
    half of them on either side (Wu et al. 2020, "Integer quantization for deep learning
    inference: principles and empirical evaluation", section 3.3).
    """
    share = scheme.percentile / 100
    values = rows.numpy()
    if scheme.symmetric:
        high = np.quantile(np.abs(values), share, axis=1, keepdims=True)
        low = -high
    else:
        low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2], axis=1, keepdims=True)
    return torch.from_numpy(np.asarray(low)).float(), torch.from_numpy(np.asarray(high)).float()


def mse(rows: Tensor, bits: Bits, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The range with the least squared error, by search (Nagel et al. 2021, "A white paper
    on neural network quantization", section 3.1).

    Both ends shrink together first; those of an affine grid then each by itself.
    """
    low, high = min_max(rows)
    even = scheme.symmetric or isinstance(bits, str)
    if even:
        high = torch.maximum(-low, high)
        low = -high
    best = _squares(rows, low, high, bits, scheme)
    for left, right in [(True, True)] if even else [(True, True), (True, False), (False, True)]:
        for exponents in (torch.arange(1, TRIED + 1), torch.linspace(-1, 1, FINE + 2)[1:-1]):
            first, last = low, high
            for factor in (SHRINK**exponents).tolist():
                start = first * factor if left else first
                end = last * factor if right else last
                error = _squares(rows, start, end, bits, scheme)
                better = error < best
                best = torch.where(better, error, best)
                low, high = torch.where(better, start, low), torch.where(better, end, high)
    return low, high


def _squares(rows: Tensor, low: Tensor, high: Tensor, bits: Bits, scheme: Scheme) -> Tensor:
    """The squared error of each row, `(channels, 1)` float64."""
    if isinstance(bits, str):
        rounded = on_grid(rows, low, high, bits, scheme).dequantized
    else:  # the same numbers from one kernel: many times as fast
        scale, zero_point = (one[:, 0] for one in step(low, high, bits, scheme))
        rounded = torch.fake_quantize_per_channel_affine(
            rows, scale, zero_point.int(), 0, *scheme.integers(bits)
        )
    return (rounded - rows).square_().sum(1, keepdim=True, dtype=torch.float64)


def entropy(rows: Tensor, bits: int, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The threshold on magnitudes that keeps most information: the least Kullback-Leibler
    divergence between the histogram, its outliers moved into the last bin, and what is left
    of it after rounding (Migacz 2017, "8-bit inference with TensorRT", GTC).

    The method needs a distribution, such as that of activations: a row with fewer values than
    bins (16 a level, 2048 at 8 bits) keeps its full range, and so do 16 bits.
    """
    low, high = min_max(rows)
    levels = scheme.integers(bits)[1] + 1 if scheme.symmetric else 2 ** (bits - 1)
    bins = BINS_PER_LEVEL * levels
    if bins > MOST_BINS or bins > rows.shape[1]:
        return low, high
    bound = torch.from_numpy(_thresholds(rows.abs().numpy(), levels, bins))
    return torch.maximum(low, -bound), torch.minimum(high, bound)


def _thresholds(magnitudes: np.ndarray, levels: int, bins: int) -> np.ndarray:
    """The magnitude above which each row is clipped, `(channels, 1)` float32."""
    largest = magnitudes.max(1, keepdims=True).astype(np.float64)
    shares = magnitudes / np.where(largest == 0, 1, largest)
    counts = np.stack([np.histogram(row, bins, (0, 1))[0] for row in shares])
    kept = np.linspace(bins, levels, min(STEPS, bins - levels + 1)).round().astype(int)
    lost = np.stack([_divergence(counts, k, levels) for k in kept])
    best = kept[lost.argmin(0)]  # of equal ones the one that clips least
    return (largest * best[:, None] / bins).astype(np.float32)


def _divergence(counts: np.ndarray, kept: int, levels: int) -> np.ndarray:
    """KL(P || Q) of histograms `(channels, bins)` cut off after `kept` bins, `(channels,)`.

    P has the outliers in its last bin. Q has what is not clipped, summed for each of `levels`
    and spread evenly over those bins of a level that were not empty.
    """
    wanted = counts[:, :kept].astype(np.float64)
    starts = (np.arange(levels) * kept) // levels
    widths = np.diff(starts, append=kept)
    sums = np.add.reduceat(wanted, starts, axis=1)
    wanted[:, -1] += counts[:, kept:].sum(1)
    filled = wanted > 0
    shared = np.add.reduceat(filled, starts, axis=1, dtype=np.int64)
    given = np.repeat(sums / np.maximum(shared, 1), widths, axis=1) * filled
    p = wanted / wanted.sum(1, keepdims=True)
    # A level that only outliers have filled gets nothing; without the bound it would cost infinity.
    q = np.maximum(given / np.maximum(given.sum(1, keepdims=True), 1), 1e-9)
    return np.where(filled, p * np.log(np.where(filled, p, 1) / q), 0).sum(1)
