"""Findings: what went wrong in a run, the numbers that show it, and a remedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.recipe.recipe import Recipe
from labkit.training.history import History
from labkit.training.remedies import Changes, shorter_steps


@dataclass(frozen=True)
class Finding:
    """A diagnosis with its evidence.

    Attributes:
        kind: a short name, such as `diverged`.
        message: one sentence for the reader, numbers included.
        remedy: what to try.
        evidence: the numbers and the layer it rests on.
        changes: the remedy as changes to the recipe (`recipe.replace(**finding.changes)`);
            empty where there is none to give.
    """

    kind: str
    message: str
    remedy: str
    evidence: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)


@torch.no_grad()
def first_non_finite_layer(network: nn.Module, inputs: Tensor) -> str | None:
    """The first layer whose output holds a NaN or an infinity, in the order of the pass."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if not found and not bool(torch.isfinite(output).all()):
                found.append(name)

        return hook

    leaves = [(n, m) for n, m in network.named_modules() if n and not any(m.children())]
    handles = [module.register_forward_hook(watch(name)) for name, module in leaves]
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def diverged(
    step: int, loss: float, network: nn.Module, inputs: Tensor, history: History
) -> Finding:
    """The finding for a loss that is no longer a number.

    Args:
        step: the step whose loss it was.
        loss: NaN or an infinity.
        network, inputs: for finding the layer where it began.
        history: for the last good loss, and the recipe that the remedy changes.
    """
    layer = first_non_finite_layer(network, inputs) or "the loss"
    evidence: dict[str, Any] = {"step": step, "loss": str(loss), "layer": layer}
    before = ""
    steps, losses = history.curve("loss")
    good = np.flatnonzero(np.isfinite(losses))
    if len(good):
        last, at = float(losses[good[-1]]), int(steps[good[-1]])
        evidence |= {"last_good_loss": last, "last_good_step": at}
        before = f" The last good loss was {last:.4g}, at step {at}."
    changes: Changes = {}
    if about := history.about.get("recipe"):
        _, rates = history.curve("lr")
        recipe = Recipe(**about)
        changes = shorter_steps(recipe, max([recipe.lr, *rates[-1:]]))
    rate = f"lr={changes['lr']:g}" if changes else "a tenth of it"
    what = "infinite" if math.isinf(loss) else "NaN"
    return Finding(
        "diverged",
        f"Training ended at step {step}: the loss became {what}; it begins in {layer}.{before}",
        f"Rewind and try a smaller learning rate ({rate}), or an initialization with smaller "
        "weights.",
        evidence,
        changes,
    )
