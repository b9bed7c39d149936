"""Quantization-aware training: steps that see what rounding will do (Ultralytics' `quantize=8`).

NVIDIA's ModelOpt puts a quantizer before each convolution's input and on its weights (Ultralytics'
`prepare_qat`): both are rounded to integers times a scale in every forward pass, and the gradient
goes through as if they were not (the straight-through estimator: Bengio et al., arXiv:1308.3432;
Jacob et al., arXiv:1712.05877). The ranges are measured once, on the first batches, and stay; what
learns are the float weights behind. The head's output layers stay float.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.core.errors import LabError
from labkit.vision.finetuning.records import PARTS, GridRecord, Used
from labkit.vision.finetuning.trainer import FineTuner

VANISHED = 1e-5  # the largest input of a layer; images are from 0 to 1


class QuantizedTuner(FineTuner):
    """A `FineTuner` whose network computes with rounded weights and activations.

    What it evaluates is the rounded network: its epoch 0 is post-training quantization with
    the same ranges.

    Raises:
        LabError: `nvidia-modelopt` or `huggingface_hub` is not installed, or the weights were
            never trained.
    """

    def _setup_train(self) -> None:
        start = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        with modelopt():
            super()._setup_train()  # calls prepare_qat, as settings() asks it to
        refuse_vanishing(self.model)
        for network in (self.model, self.ema.ema):
            set_weight_bits(network, self.spec.qat)

        self.watched = max(
            (name for name in quantizers(self.model) if name.endswith(".weight")),
            key=lambda name: self.model.get_parameter(name).numel(),
        )
        self.levels = self._positions(start[self.watched]).round()

    def on_grid(self) -> GridRecord:
        """The weights of the largest quantized layer, in steps of their channels' grids."""
        positions = self._positions(self.model.get_parameter(self.watched).detach())
        levels = positions.round()
        bits, top = self.spec.qat, 2 ** (self.spec.qat - 1)
        counts = torch.histc(
            positions.clamp(-top, top - 1), (2 * top) * PARTS, -top - 0.5, top - 0.5
        )
        inside = (positions >= -top) & (positions <= top - 1)
        return GridRecord(
            self.watched.removesuffix(".weight"),
            bits,
            counts.cpu().numpy().astype(np.int64),
            float((positions - levels).abs()[inside].mean()),
            float((levels != self.levels).float().mean()),
        )

    def _positions(self, weight: Tensor) -> Tensor:
        """Weights in steps of their grids: a level is where this is whole."""
        quantizer = quantizers(self.model)[self.watched]
        top = 2 ** (self.spec.qat - 1) - 1
        return weight * (top / quantizer.amax.clamp(min=1e-12))

    def used(self) -> Used:
        """The settings in force, the quantizers among them."""
        weights = [q for name, q in quantizers(self.model).items() if name.endswith("weight")]
        word = (
            f"qat={self.spec.qat}: the weights of {len(weights)} layers are rounded to "
            f"{weights[0].num_bits} bits per channel, their inputs to 8 bits; the head's output "
            "layers stay float."
        )
        found = super().used()
        return dataclasses.replace(found, notes=(*found.notes, word))


def quantizers(network: nn.Module) -> dict[str, Any]:
    """ModelOpt's enabled quantizers: `model.0.conv.weight`, `model.0.conv.input`, …"""
    return {
        name.removesuffix("_quantizer"): module
        for name, module in network.named_modules()
        if type(module).__name__ == "TensorQuantizer" and module.is_enabled
    }


def refuse_vanishing(network: nn.Module) -> None:
    """Refuse a network in which nothing reaches some layer: a range of nothing has no grid.

    Raises:
        LabError: so it is.
    """
    for name, quantizer in quantizers(network).items():
        if name.endswith("input") and float(quantizer.amax.max()) < VANISHED:
            raise LabError(
                f"qat needs weights that were trained: nothing reaches {name.rpartition('.')[0]} "
                "of these, as in a network whose BatchNorm has measured nothing yet. Fine-tune "
                "with qat=0 first"
            )


def set_weight_bits(network: nn.Module, bits: int) -> None:
    """Round weights to the given number of bits from now on; their ranges stay."""
    for name, quantizer in quantizers(network).items():
        if name.endswith("weight"):
            quantizer.num_bits = bits


@contextmanager
def modelopt() -> Iterator[None]:
    """ModelOpt imported, and quiet meanwhile.

    Importing it takes seconds. It looks for a CUDA compiler and for packages that it could work
    with, and says what is not there; it prints how many quantizers it has made. It sends
    nothing and writes nothing.

    Raises:
        LabError: it, or `huggingface_hub`, is not installed.
    """
    compilers = logging.getLogger("torch.utils.cpp_extension")
    before = compilers.level
    compilers.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import modelopt.torch.quantization.conversion as conversion
        except ImportError as error:
            raise LabError(
                f"quantization-aware training needs a package that is not here ({error}): "
                "pip install nvidia-modelopt huggingface_hub"
            ) from None
        finally:
            compilers.setLevel(before)
        # Its module's own print: standard output belongs to all threads of a notebook.
        vars(conversion)["print"] = _nothing
        try:
            yield
        finally:
            vars(conversion).pop("print", None)


def _nothing(*_: object) -> None:
    pass
