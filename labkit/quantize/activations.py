"""Activations rounded as well as weights: ranges from calibration images, a grid per layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.core.errors import LabError
from labkit.core.threads import one_thread
from labkit.quantize.ranges import find_range
from labkit.quantize.rounding import on_grid, step
from labkit.quantize.scheme import Bits, Scheme, checked_bits
from labkit.vision.detector import Detector
from labkit.vision.evaluation import samples

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from labkit.vision.data import DataSet

KEPT = 4096  # values kept of each layer and batch, for ranges other than min-max


@dataclass(frozen=True, eq=False)
class Activations:
    """The range of each layer's inputs, and the bits they are rounded to.

    Attributes:
        ranges: module name -> lowest and highest value of its grid, `(1, 1)` each.
        bits, scheme: of the grids; there is always one for the whole tensor.
        images: how many images the ranges are from.
    """

    ranges: dict[str, tuple[Tensor, Tensor]]
    bits: Bits
    scheme: Scheme
    images: int

    def attach(self, detector: Detector, weights: Iterable[str]) -> list[RemovableHandle]:
        """Round the inputs of the layers that own these weights, until the handles are removed.

        Raises:
            LabError: a layer that calibration has not seen.
        """
        handles = []
        for name in dict.fromkeys(weight.rpartition(".")[0] for weight in weights):
            if name not in self.ranges:
                raise LabError(
                    f"{name} has no range of activations: calibrate the same network first, with "
                    "quantize.calibrate(detector, data)."
                )
            module = detector.model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(self._rounding(*self.ranges[name])))
        return handles

    def _rounding(self, low: Tensor, high: Tensor) -> Any:
        bits, scheme = self.bits, self.scheme

        def rounded(values: Tensor) -> Tensor:
            lowest, highest = low.to(values.device), high.to(values.device)
            if isinstance(bits, str):
                rows = values.reshape(1, -1)
                return on_grid(rows, lowest, highest, bits, scheme).dequantized.reshape_as(values)
            # The same numbers from one kernel, wherever the channels are in memory.
            scale, zero_point = step(lowest, highest, bits, scheme)
            return torch.fake_quantize_per_tensor_affine(
                values, scale.flatten()[0], zero_point.int().flatten()[0], *scheme.integers(bits)
            )

        def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (rounded(inputs[0]), *inputs[1:])

        return before


@torch.inference_mode()
def calibrate(
    detector: Detector,
    data: DataSet,
    bits: Bits = 8,
    scheme: Scheme | str = "affine tensor",
    *,
    split: str = "train",
    images: int = 20,
    imgsz: int | None = None,
) -> Activations:
    """Run images through the network, and record the range of every layer's inputs.

    Args:
        detector: with or without BatchNorm folded: inputs are the same.
        data, split, images, imgsz: which images; by default of the training split, so that
            accuracy is measured later on others.
        bits, scheme: of the grids; "channel" has no effect here, there is one per tensor.

    Raises:
        LabError: bits or a scheme that do not exist, a network that gives NaN; see `samples`.
    """
    scheme = Scheme.of(scheme)
    checked_bits(bits)
    lows: dict[str, list[Tensor]] = {}
    highs: dict[str, list[Tensor]] = {}
    kept: dict[str, list[Tensor]] = {}
    known = samples(data, split=split, limit=images, imgsz=imgsz or detector.imgsz)

    def looking(name: str) -> Any:
        def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].detach().flatten()
            low, high = torch.aminmax(values)
            lows.setdefault(name, []).append(low.cpu())
            highs.setdefault(name, []).append(high.cpu())
            kept.setdefault(name, []).append(values[:: max(1, len(values) // KEPT)].cpu())

        return before

    owners = [
        (name, module)
        for name, module in detector.model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim >= 2
    ]
    handles = [module.register_forward_pre_hook(looking(name)) for name, module in owners]
    try:
        device = next(detector.model.parameters()).device
        with one_thread():  # see `labkit.vision.evaluation`
            for _, batch in known.batches():
                detector.model(batch.to(device).float() / 255)
    finally:
        for handle in handles:
            handle.remove()
    ranges = {}
    for name in lows:
        seen = torch.stack([torch.stack(lows[name]).min(), torch.stack(highs[name]).max()])
        if not seen.isfinite().all():
            raise LabError(
                f"{name} reads values that are NaN or infinite: calibration is impossible."
            )
        # A sample for the shape of the distribution, and both ends, which it may miss.
        rows = torch.cat([*kept[name], seen])[None]
        ranges[name] = find_range(rows, bits, scheme)
    return Activations(ranges, bits, scheme, len(known))
