"""Losses by name, over `torch.nn.functional`, with their slopes by autograd.

A LOSSES entry is `make(output, target, *, its own arguments)`: two float tensors of one
shape in, one loss for each element out, nothing averaged. For a regression `output` is
the prediction itself. For a classification it is a *logit*, the network's raw number for
"yes", and `target` is 1 for yes and 0 for no (or a probability in between).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.core.errors import RecipeError, unknown
from labkit.core.parameters import knob
from labkit.core.registry import Registry

LOSSES = Registry("loss")


@LOSSES.register("mse", kind="regression", formula="(y - t)²", source="Gauss 1809")
def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error: twice the error costs four times as much."""
    return F.mse_loss(output, target, reduction="none")


@LOSSES.register("l1", kind="regression", formula="|y - t|", source="Laplace 1774")
def l1(output: Tensor, target: Tensor) -> Tensor:
    """Absolute error: twice the error costs twice as much."""
    return F.l1_loss(output, target, reduction="none")


@LOSSES.register(
    "huber",
    kind="regression",
    formula="e²/2 if |e| ≤ δ else δ(|e| - δ/2), e = y - t",
    source="Huber 1964",
)
def huber(
    output: Tensor,
    target: Tensor,
    *,
    delta: Annotated[
        float, knob(0.05, 10.0, step=0.05, help="the error where the parabola becomes a line")
    ] = 1.0,
) -> Tensor:
    """Squared for small errors, straight for large ones."""
    return F.huber_loss(output, target, reduction="none", delta=delta)


@LOSSES.register(
    "brier", kind="classification", formula="(p - t)², p = 1/(1 + e^-z)", source="Brier 1950"
)
def brier(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of the probability: flat where the network is sure of a wrong answer."""
    return F.mse_loss(torch.sigmoid(output), target, reduction="none")


@LOSSES.register(
    "bce",
    kind="classification",
    formula="-t·ln p - (1 - t)·ln(1 - p), p = 1/(1 + e^-z)",
    source="Good 1952",
)
def bce(output: Tensor, target: Tensor) -> Tensor:
    """Surprise at the right answer of two: the surer the wrong answer, the larger the loss."""
    return F.binary_cross_entropy_with_logits(output, target, reduction="none")


@LOSSES.register(
    "cross_entropy",
    kind="classification",
    formula="-Σ t·ln p, p = softmax(z, 0, …, 0)",
    source="Bridle 1990",
)
def cross_entropy(
    output: Tensor,
    target: Tensor,
    *,
    classes: Annotated[int, knob(2, 100, help="number of classes")] = 10,
) -> Tensor:
    """Surprise at the right answer of many: one class has the logit z, the others 0."""
    scores = torch.cat([output[..., None], output.new_zeros(*output.shape, classes - 1)], dim=-1)
    rest = (1 - target)[..., None] / (classes - 1)  # no: one of the others, whichever
    answers = torch.cat([target[..., None], rest.expand(*output.shape, classes - 1)], dim=-1)
    flat = F.cross_entropy(
        scores.reshape(-1, classes), answers.reshape(-1, classes), reduction="none"
    )
    return flat.view(output.shape)


@LOSSES.register(
    "focal",
    kind="classification",
    formula="-α·(1 - p)^γ·ln p for yes, (1 - α) and 1 - p for no",
    source="Lin et al. 2017",
)
def focal(
    output: Tensor,
    target: Tensor,
    *,
    gamma: Annotated[float, knob(0.0, 8.0, step=0.1, help="focusing parameter γ")] = 2.0,
    alpha: Annotated[float, knob(0.0, 1.0, step=0.05, help="weight of yes against no")] = 0.25,
) -> Tensor:
    """Cross-entropy in which easy answers count little: for few objects in much background."""
    surprise = bce(output, target)
    probability = torch.sigmoid(output)
    # 1 - p of the right answer, as the sigmoid of the other's logit: exact where p is almost 1.
    miss = torch.sigmoid(-output) * target + probability * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    # Without a floor the power's slope would be infinite where the miss underflows to 0.
    return weight * miss.clamp_min(torch.finfo(miss.dtype).tiny) ** gamma * surprise


def evaluate(
    name: str, output: Any, target: Any, arguments: Mapping[str, Any] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A loss and its slope along the output, element by element, in float64.

    Args:
        name: of a LOSSES entry.
        output: predictions (regression) or logits (classification), any shape.
        target: what was wanted, of a shape that fits.
        arguments: the entry's own, such as `{"delta": 0.5}`.

    Returns:
        The losses and, by autograd, their derivatives by `output`, both shaped like `output`.

    Raises:
        RecipeError: an unknown loss or argument, or a value outside its limits.
    """
    entry = LOSSES[name]
    own = entry.check(arguments or {}, name)
    at = torch.tensor(np.asarray(output, np.float64), requires_grad=True)
    wanted = torch.tensor(np.asarray(target, np.float64)).expand(at.shape)
    losses = entry.make(at, wanted, **own)
    (slopes,) = torch.autograd.grad(losses.sum(), at)
    return losses.detach().numpy(), slopes.numpy()


def walk(
    name: str,
    start: float,
    target: float,
    arguments: Mapping[str, Any] | None = None,
    *,
    lr: float,
    steps: int,
) -> np.ndarray:
    """Where gradient descent takes one output by itself, `(steps + 1,)`, the start included."""
    path = [float(start)]
    for _ in range(steps):
        path.append(path[-1] - lr * float(evaluate(name, path[-1], target, arguments)[1]))
    return np.array(path)


def deal(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arguments by name, each dealt to those of the losses that take it, and checked.

    Raises:
        RecipeError: an unknown or doubled loss, losses of different kinds, an argument
            that none of them takes, or a value outside its limits.
    """
    if not names or len(set(names)) < len(names):
        raise RecipeError(f"losses={list(names)!r}: give one or more different names")
    kinds = {LOSSES[name].traits["kind"] for name in names}
    if len(kinds) > 1:
        raise RecipeError(
            f"losses={list(names)!r} are of different kinds: one picture takes either "
            + ", or ".join(", ".join(of_kind(kind)) for kind in sorted(kinds))
        )
    known = {argument for name in LOSSES for argument in LOSSES[name].parameters()}
    for argument in given:
        if argument not in known:
            raise RecipeError(unknown("argument", argument, sorted(known)))
    return {
        name: {k: v for k, v in given.items() if k in LOSSES[name].parameters()} for name in names
    }


def of_kind(kind: str) -> list[str]:
    """The names of the losses for `"regression"` or for `"classification"`."""
    return [name for name, entry in LOSSES.items() if entry.traits["kind"] == kind]


def best_constant(name: str, values: Any, arguments: Mapping[str, Any] | None = None) -> np.ndarray:
    """The one number that predicts all of `values` with the smallest total loss.

    For `mse` that is the mean, for `l1` a median (the middle one, where many are as good),
    for `huber` something in between.

    Args:
        name: a loss for regression; its total must have one valley.
        values: the data, `(n,)`, or several sets of them, `(k, n)`.
        arguments: the loss' own.

    Returns:
        One number for each set: `()` or `(k,)`.

    Raises:
        RecipeError: a loss for classification, or what `evaluate` raises.
    """
    if LOSSES[name].traits["kind"] != "regression":
        raise RecipeError(
            f"loss={name!r} is for yes and no: choose from {', '.join(of_kind('regression'))}"
        )
    values = np.asarray(values, np.float64)
    tiny = 1e-12 * values.shape[-1]  # what is left of slopes that cancel

    def edge(sign: int) -> np.ndarray:
        """Bisect for where the total stops falling (-1) or begins to rise (1)."""
        low, high = values.min(axis=-1), values.max(axis=-1)
        for _ in range(48):
            middle = (low + high) / 2
            at = np.broadcast_to(middle[..., None], values.shape)
            slope = evaluate(name, at, values, arguments)[1].sum(axis=-1)
            right = slope > sign * tiny  # of the edge
            low, high = np.where(right, low, middle), np.where(right, middle, high)
        return (low + high) / 2

    return (edge(-1) + edge(1)) / 2
