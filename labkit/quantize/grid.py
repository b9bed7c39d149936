"""A tensor on its quantization grid: levels, rounded values, and what the rounding costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labkit.core.errors import LabError
from labkit.core.threads import one_thread
from labkit.quantize.ranges import find_range
from labkit.quantize.rounding import on_grid
from labkit.quantize.scheme import FORMATS, Bits, Scheme, checked_bits, width


@dataclass(frozen=True, eq=False)
class Grid:
    """A tensor on its grid. Channels are those of the scheme; one for the whole tensor.

    Attributes:
        tensor: the values as they were, float32.
        bits, scheme: of the grid.
        scale: the step between two levels, `(channels,)` float32; for a floating-point format
            the factor that its numbers are multiplied by.
        zero_point: the integer that represents zero, `(channels,)` int32.
        quantized: the integers, int32, in the shape of the tensor; for a floating-point format
            its numbers, in its dtype.
        dequantized: the values that these represent, float32.
        clipped: share of the values beyond the outermost level.
    """

    tensor: Tensor
    bits: Bits
    scheme: Scheme
    scale: Tensor
    zero_point: Tensor
    quantized: Tensor
    dequantized: Tensor
    clipped: float

    @property
    def error(self) -> Tensor:
        """Dequantized minus original values: what rounding and clipping cost."""
        return self.dequantized - self.tensor

    @property
    def sqnr(self) -> float:
        """Signal-to-quantization-noise ratio in dB: see `sqnr`."""
        return sqnr(self.tensor, self.error)

    @property
    def nbytes(self) -> int:
        """Bytes of the values, their scales (4 each) and zero points (1 or 2 each)."""
        one = width(self.bits)
        scales = 0 if isinstance(self.bits, str) and one == 16 else 4 * self.scale.numel()
        zeros = 0 if self.scheme.symmetric or isinstance(self.bits, str) else self.scale.numel()
        return math.ceil(self.tensor.numel() * one / 8) + scales + zeros * math.ceil(one / 8)

    def levels(self, channel: int = 0) -> Tensor:
        """All values that a channel can have, in order, float32 `(levels,)`.

        Raises:
            LabError: a channel that does not exist.
        """
        if not 0 <= channel < len(self.scale):
            raise LabError(
                f"channel={channel} does not exist: this grid has {len(self.scale)}, from 0."
            )
        scale = self.scale[channel]
        if isinstance(self.bits, str):
            return _numbers(FORMATS[self.bits]) * scale
        first, last = self.scheme.integers(self.bits)
        return (torch.arange(first, last + 1) - self.zero_point[channel]) * scale

    def facts(self) -> dict[str, object]:
        """Scale, error and size, as a table row."""
        error = self.error.abs()
        several = len(self.scale) > 1
        zeros = self.zero_point.unique().tolist()
        return {
            "bits": self.bits,
            "scheme": str(self.scheme),
            "scale": f"{self.scale.min():.3g} to {self.scale.max():.3g}"
            if several
            else f"{self.scale[0]:.4g}",
            "zero point": zeros[0] if len(zeros) == 1 else f"{zeros[0]} to {zeros[-1]}",
            "values used": int(self.quantized.float().unique().numel()),
            "largest error": float(error.max()),
            "SQNR (dB)": self.sqnr,
            "clipped": self.clipped,
            "bytes": self.nbytes,
        }


@torch.no_grad()
def grid(tensor: Any, bits: Bits = 8, scheme: Scheme | str = "symmetric channel") -> Grid:
    """Quantize a tensor to a number of bits; the tensor itself does not change.

    Dequantized values of integer grids are bit for bit those of
    `torch.fake_quantize_per_tensor_affine` and `torch.fake_quantize_per_channel_affine`.

    Args:
        tensor: floating-point values of any shape: a tensor, an array, numbers in a list.
        bits: 2 to 8 or 16 for integers; "bf16", "fp16" (a cast), "e4m3" or "e5m2" (fp8: a
            cast after scaling) for floating-point numbers.
        scheme: a `Scheme`, or its words (see `Scheme.of`).

    Raises:
        LabError: bits or a scheme that do not exist, an empty tensor, values that are not
            floating-point or not finite, or channels of a tensor without that dimension.
    """
    bits, scheme = checked_bits(bits), Scheme.of(scheme)
    values = _values(tensor)
    with one_thread():
        rows = _rows(values, scheme)
        low, high = find_range(rows, bits, scheme)
        rounded = on_grid(rows, low, high, bits, scheme)
        return Grid(
            tensor=values,
            bits=bits,
            scheme=scheme,
            scale=rounded.scale[:, 0],
            zero_point=rounded.zero_point[:, 0],
            quantized=_back(rounded.quantized, values, scheme),
            dequantized=_back(rounded.dequantized, values, scheme),
            clipped=float(rounded.clipped.float().mean()),
        )


def sqnr(signal: Tensor, noise: Tensor) -> float:
    """Signal-to-quantization-noise ratio in dB: 10 log10(sum signal² / sum noise²).

    Infinite without noise; minus infinite where noise is infinite.
    """
    power = float(signal.double().square().sum())
    lost = float(noise.double().square().sum())
    if lost == 0:
        return math.inf
    return 10 * math.log10(power / lost) if power and math.isfinite(lost) else -math.inf


def _values(tensor: Any) -> Tensor:
    """Checked float32 values on the CPU."""
    try:
        values = torch.as_tensor(tensor).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise LabError(
            f"a grid needs numbers, such as a tensor of weights, not {type(tensor).__name__}: "
            f"{error}"
        ) from None
    if not values.is_floating_point():
        kind = str(values.dtype).removeprefix("torch.")
        raise LabError(f"a grid needs floating-point values; these are {kind} already.")
    if not values.numel():
        raise LabError(f"a tensor of shape {tuple(values.shape)} has no values to quantize.")
    values = values.to("cpu", torch.float32)
    good = values.isfinite()
    if not good.all():
        first = (~good).nonzero()[0].tolist()
        raise LabError(
            f"{int((~good).sum())} of {values.numel()} values are NaN or infinite, the first at "
            f"{first}: a range cannot contain them. Look where they came from (a training run "
            "that diverged?) and quantize weights from before it."
        )
    return values


def _rows(values: Tensor, scheme: Scheme) -> Tensor:
    """(channels, everything else), contiguous; one row for the whole tensor."""
    if scheme.per == "tensor":
        return values.reshape(1, -1)
    if values.ndim < 2:
        what = f"{values.numel()} values in one row" if values.ndim else "a single value"
        raise LabError(
            f"a grid per channel needs two dimensions or more, this tensor is {what}: use "
            f"{str(scheme).replace('channel', 'tensor')!r}."
        )
    if not -values.ndim <= scheme.axis < values.ndim:
        raise LabError(
            f"axis={scheme.axis} does not exist: the tensor has {values.ndim} dimensions, from 0."
        )
    return values.movedim(scheme.axis, 0).flatten(1).contiguous()


def _back(rows: Tensor, like: Tensor, scheme: Scheme) -> Tensor:
    """Rows back in the shape of the tensor."""
    if scheme.per == "tensor":
        return rows.reshape(like.shape)
    moved = like.movedim(scheme.axis, 0)
    return rows.reshape(moved.shape).movedim(0, scheme.axis).contiguous()


def _numbers(dtype: torch.dtype) -> Tensor:
    """All finite numbers of a floating-point format, in order."""
    small = {1: torch.uint8, 2: torch.int16}[dtype.itemsize]
    patterns = torch.arange(2 ** (8 * dtype.itemsize)).to(small)
    numbers = patterns.view(dtype).float()
    return numbers[numbers.isfinite()].unique()
