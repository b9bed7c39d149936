"""Quantization-aware training: the network that a run has trained, with its quantizers.

Training is `labkit.vision.finetune` with `FineTune(qat=8)`. It leaves float weights, those of an
ordinary detector, which can be quantized in any other way as well; the ranges of its grids are
in the run's state. `labkit.deploy.qat` writes the small file that can be deployed.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labkit.core.errors import FileError
from labkit.core.ultralytics import silent, ultralytics
from labkit.vision.detector import Detector, open_detector
from labkit.vision.finetuning import checkpoint

if TYPE_CHECKING:
    from labkit.vision.finetuning.records import FineTuned


def qat_ranges(folder: str | os.PathLike[str]) -> tuple[int, dict[str, Tensor]]:
    """The weights' bits of a quantization-aware run, and the largest value of each quantizer.

    Returns:
        Bits, and `model.0.conv.weight` -> `(channels, 1, 1, 1)`, `model.0.conv.input` -> `()`.

    Raises:
        FileError: there is no run, none of its epochs is complete, or it was trained without
            quantizers.
    """
    place = Path(folder)
    facts, state = checkpoint.read_run(place), checkpoint.read_state(place)
    bits = int(facts["spec"].get("qat", 0))
    if not bits:
        raise FileError(
            f"the run in {place} was trained without quantization: fine-tune with qat=8"
        )
    if state is None:
        raise FileError(f"the run in {place} has no complete epoch yet: resume it")
    end = "_quantizer._amax"
    ranges = {name: tensor for name, tensor in state["network"].items() if name.endswith(end)}
    return bits, {name.removesuffix(end): tensor for name, tensor in ranges.items()}


def qat_detector(run: FineTuned) -> Detector:
    """The best network of a run as it was trained and evaluated: with its quantizers.

    Raises:
        FileError: as `qat_ranges`.
        LabError: a package is not installed.
    """
    from labkit.vision.finetuning.quantized import modelopt, quantizers, set_weight_bits

    bits, ranges = qat_ranges(run.folder)
    detector = open_detector(run.best)
    ultralytics()
    from ultralytics.utils.torch_utils import prepare_qat

    black = torch.zeros(1, 3, run.spec.image_size, run.spec.image_size)
    with modelopt(), silent():  # Ultralytics chooses the layers; their ranges are set below
        network: Any = prepare_qat(detector.model, [black], lambda batch: batch, batches=1)
    for name, quantizer in quantizers(network).items():
        quantizer.amax = ranges[name]
    set_weight_bits(network, bits)
    return dataclasses.replace(detector, model=network.eval())
