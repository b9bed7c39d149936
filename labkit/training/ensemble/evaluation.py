"""Losses and accuracies of all members of an ensemble on both splits."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from labkit.training.ensemble.batches import Samples
from labkit.training.ensemble.stack import Stack, member_losses

_BYTES = 64 * 2**20  # of one layer's activations: larger ensembles are evaluated in parts


@torch.no_grad()
def evaluate(stack: Stack, samples: Samples, most: int | None) -> np.ndarray:
    """Training loss and accuracy, validation loss and accuracy, as `Trainer.evaluate` has them.

    Args:
        stack: the members.
        samples: their data.
        most: use the first samples of each split, this many; None uses all.

    Returns:
        `(members, 4)` float64; accuracies are NaN for regression.
    """
    columns = []
    widest = max(shape[0] for shape in stack.layout.shapes)
    for inputs, targets in (
        (samples.train_inputs, samples.train_targets),
        (samples.val_inputs, samples.val_targets),
    ):
        x, y = inputs[..., :most], targets[..., :most]
        rows = max(1, _BYTES // (4 * widest * x.shape[-1]))
        parts = [
            _evaluate_rows(stack, samples, slice(first, first + rows), x, y)
            for first in range(0, len(stack.flat), rows)
        ]
        columns += [torch.cat(column) for column in zip(*parts, strict=True)]
    return torch.stack(columns, 1).cpu().double().numpy()


def _evaluate_rows(
    stack: Stack, samples: Samples, rows: slice, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    if len(x) > 1:
        which = samples.which[rows]
        x, y = x[which], y[which]
    outputs = stack.outputs(x, rows)
    losses = member_losses(outputs, y)
    if not samples.classes:
        return losses, losses * math.nan
    return losses, _correct(outputs, y).float().mean(1)


def _correct(outputs: Tensor, classes: Tensor) -> Tensor:
    """Where the largest output, the first of equals, is the true class's: `(members, samples)`.

    `argmax` along the middle axis is ten times slower.
    """
    true = classes.expand(len(outputs), -1).unsqueeze(1)
    own = outputs.gather(1, true)
    number = torch.arange(outputs.shape[1], device=outputs.device)[:, None]
    ahead = (outputs > own) | ((outputs == own) & (number < true))
    return ~ahead.any(1)
