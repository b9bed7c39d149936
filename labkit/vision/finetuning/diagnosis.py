"""Findings about a fine-tuning run: what went wrong, the numbers that show it, a remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.training.findings import Finding, first_non_finite_layer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from labkit.training.history import History
    from labkit.vision.finetuning.records import EpochRecord
    from labkit.vision.finetuning.spec import FineTune

USUAL_LR = 2e-3  # of Adam and its kin; FineTune's default
USUAL_SGD_LR = 1e-2  # Ultralytics' default for SGD and MuSGD
RISEN = 1.5  # times the first step's loss: no batch is so much harder than another


def diverged(
    step: int,
    loss: float,
    network: nn.Module,
    images: Tensor,
    spec: FineTune,
    history: History | None,
) -> Finding:
    """The finding for a step whose loss or gradient is no longer a number.

    Args:
        step: the step that was not made.
        loss: NaN or an infinity.
        network, images: for finding the layer where it began.
        spec: of the run.
        history: for the last good loss.
    """
    network.eval()
    layer = first_non_finite_layer(network, images) or "the loss or its gradient"
    evidence: dict[str, Any] = {"step": step, "loss": str(loss), "layer": layer}
    before = ""
    if history is not None:
        steps, losses = history.curve("loss")
        if len(losses):
            evidence |= {"last_good_loss": float(losses[-1]), "last_good_step": int(steps[-1])}
            before = f" The last good loss was {losses[-1]:.4g}, at step {int(steps[-1])}."
    lower = _lower(spec)
    what = "NaN" if math.isnan(loss) else "infinite"
    return Finding(
        "diverged",
        f"Training ended at step {step}: the loss became {what}; it begins in {layer}.{before}",
        f"The best epoch until then is kept. Try a smaller learning rate (lr={lower:g}), or a "
        "longer warm-up.",
        evidence,
        {"lr": lower},
    )


def collapsed(step: int, loss: float, spec: FineTune) -> Finding:
    """The finding for a detector that answers "nothing" to everything.

    Args:
        step: the step that was not made.
        loss: its loss.
        spec: of the run.
    """
    lower = _lower(spec)
    return Finding(
        "collapsed",
        f"Training ended at step {step}: the detector finds nothing anywhere. All its scores "
        "are zero, so no labelled box is matched with a prediction and none pulls on the "
        f"weights any more: the loss of {loss:.2g} is no success.",
        f"The best epoch until then is kept. Try a smaller learning rate (lr={lower:g}).",
        {"step": step, "loss": loss},
        {"lr": lower},
    )


def lr_too_high(spec: FineTune, first: float, epochs: Sequence[EpochRecord]) -> Finding | None:
    """The finding for a run that makes the detector worse than it was, or None.

    Args:
        spec: of the run.
        first: the loss of its first step.
        epochs: its complete epochs, the one before training first.
    """
    if len(epochs) < 2:
        return None
    start, now = epochs[0], epochs[-1]
    worse = now.map50 < start.map50 / 2 and now.loss > first
    if not (worse or now.loss > RISEN * first):
        return None
    lower = _lower(spec)
    return Finding(
        "lr_too_high",
        f"The detector gets worse, not better: the first step's loss was {first:.3g}, epoch "
        f"{now.epoch} has {now.loss:.3g}; mAP50 was {start.map50:.3f} before training and is "
        f"{now.map50:.3f}. A learning rate of {spec.lr:g} overwrites what the weights knew.",
        f"Try a smaller learning rate (lr={lower:g}).",
        {
            "epoch": now.epoch,
            "first_loss": first,
            "loss": now.loss,
            "map50_before": start.map50,
            "map50": now.map50,
        },
        {"lr": lower},
    )


def _lower(spec: FineTune) -> float:
    """A tenth of the learning rate, or what is usual if that is lower."""
    usual = USUAL_SGD_LR if "sgd" in spec.optimizer else USUAL_LR
    return float(f"{max(1e-6, min(spec.lr / 10, usual)):.3g}")
