"""Rounding to integer levels and to short floating-point formats, row by row.

Rows are `(channels, values)` float32; scales, zero points and bounds are `(channels, 1)`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from labkit.quantize.scheme import FORMATS, Bits, Scheme

TINY = torch.finfo(torch.float32).tiny  # a smaller scale has no finite inverse


class Rounded(NamedTuple):
    """Values on their grid.

    Attributes:
        scale: the step between two levels; for a floating-point format the factor that its
            numbers are multiplied by.
        zero_point: the integer that represents zero; 0 for a floating-point format.
        quantized: int32 levels, or numbers of the format's dtype.
        dequantized: the float32 values that these represent.
        clipped: bool, whether a value lies more than half a step beyond the outermost level.
    """

    scale: Tensor
    zero_point: Tensor
    quantized: Tensor
    dequantized: Tensor
    clipped: Tensor


def on_grid(rows: Tensor, low: Tensor, high: Tensor, bits: Bits, scheme: Scheme) -> Rounded:
    """Round rows to the grid from `low` to `high`."""
    if isinstance(bits, str):
        return _to_format(rows, low, high, bits)
    scale, zero_point = step(low, high, bits, scheme)
    first, last = scheme.integers(bits)
    # As torch's kernels do it: times the inverse, and the zero point after the rounding
    # (half to even).
    levels = (rows * (1.0 / scale)).round_() + zero_point
    quantized = levels.clamp(first, last)
    return Rounded(
        scale,
        zero_point.to(torch.int32),
        quantized.to(torch.int32),
        (quantized - zero_point) * scale,
        levels != quantized,
    )


def step(low: Tensor, high: Tensor, bits: int, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Scale and zero point (float32, whole numbers) of an integer grid (Jacob et al. 2018,
    "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", sections 2.1 and 3); scale 1 where there is nothing but zeros.
    """
    first, last = scheme.integers(bits)
    if scheme.symmetric:
        scale = torch.maximum(-low, high) / last
        zero_point = torch.zeros_like(scale)
    else:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = (high - low) / (last - first)
        zero_point = first - (low / scale.clamp(min=TINY)).round()
    nothing = (low == 0) & (high == 0)
    scale = torch.where(nothing, 1.0, scale.clamp(min=TINY))
    return scale, zero_point.clamp(first, last)


def _to_format(rows: Tensor, low: Tensor, high: Tensor, name: str) -> Rounded:
    """16 bits are a plain cast. The range of 8 bits is so much smaller than that of float32 that
    they are always scaled, the largest value to the format's largest (Micikevicius et al. 2022,
    "FP8 formats for deep learning"); values beyond it saturate.
    """
    dtype = FORMATS[name]
    largest = torch.finfo(dtype).max
    zero_point = torch.zeros_like(low, dtype=torch.int32)
    if dtype.itemsize == 2:
        quantized = rows.to(dtype)
        clipped = quantized.isinf()
        return Rounded(torch.ones_like(low), zero_point, quantized, quantized.float(), clipped)
    bound = torch.maximum(-low, high)
    scale = torch.where(bound == 0, 1.0, (bound / largest).clamp(min=TINY))
    scaled = rows * (1.0 / scale)
    quantized = scaled.clamp(-largest, largest).to(dtype)
    clipped = scaled.abs() > largest * (1 + 1e-6)  # the largest itself may round to above
    return Rounded(scale, zero_point, quantized, quantized.float() * scale, clipped)
