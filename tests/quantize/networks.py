"""A tiny detector whose signals reach its outputs, without any training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from labkit.vision.detector import Detector, open_detector
from tests.vision.finetuning import tiny


def settled(folder: Path, names: tuple[str, ...] = tiny.NEW) -> Detector:
    """Untrained, with the statistics that BatchNorm measures on noise.

    With those of a fresh network (mean 0, variance 1) hardly any signal would reach the end.
    """
    found = open_detector(tiny.weights(folder / "weights.safetensors", names))
    generator = torch.Generator().manual_seed(0)
    norms = [m for m in found.model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [module.momentum for module in norms]
    for module in norms:
        module.weight.data.uniform_(0.5, 1.5, generator=generator)
        module.bias.data.normal_(0, 0.3, generator=generator)
        module.momentum = None  # the plain mean of all batches
        module.reset_running_stats()
    found.model.train()
    with torch.no_grad():
        for _ in range(2):
            found.model(torch.rand(4, 3, 64, 64, generator=generator))
    found.model.eval()
    for module, momentum in zip(norms, before, strict=True):
        module.momentum = momentum
    return found
