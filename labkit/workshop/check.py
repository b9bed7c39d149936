"""Is this optimizer correct? A learner's `step` beside torch's, judged by the weights."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit.core.errors import LabError
from labkit.core.table import Table
from labkit.core.threads import one_thread
from labkit.recipe import optimize
from labkit.recipe.optimize import OPTIMIZERS
from labkit.training.custom_optimizer import Step, call, check_signature
from labkit.workshop.common_mistakes import common_mistakes

if TYPE_CHECKING:
    import plotly.graph_objects as go

RTOL = 1e-4  # of the distance covered so far: less than that is rounding
ATOL = 1e-7

# Shapes that networks have, and one whose gradients are so small that ε matters.
TENSORS = (("matrix", (3, 4), 1.0), ("vector", (5,), 1.0), ("single", (1,), 1.0))
TINY = ("tiny gradients", (4,), 1e-8)


@dataclass(frozen=True)
class Compared:
    """One tensor: the weights that the learner's step and torch's gave it.

    Attributes:
        tensor, shape: its name and shape.
        yours, theirs: the weights after each step, `(steps + 1, numbers)`.
        first: the first step whose weights differ, or None.
        gap: the largest difference at that step; 0 without one.
    """

    tensor: str
    shape: tuple[int, ...]
    yours: np.ndarray
    theirs: np.ndarray
    first: int | None
    gap: float


@dataclass(frozen=True)
class StepCheck:
    """What a check found.

    Attributes:
        like: the optimizer it should be.
        steps: how many were compared.
        tensors: one entry a tensor; none where the function gave no weights at all.
        problem: what was wrong with what the function returned, or nothing.
        hint: the common mistake that gives the learner's weights, or nothing.
    """

    like: str
    steps: int
    tensors: list[Compared] = field(default_factory=list)
    problem: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem and all(item.first is None for item in self.tensors)

    @property
    def first(self) -> int | None:
        """The first step at which any weight differs, or None."""
        found = [item.first for item in self.tensors if item.first is not None]
        return min(found, default=None)

    @property
    def message(self) -> str:
        """One or two sentences: correct, or where it first differs and the likely reason."""
        if self.problem:
            return self.problem
        if self.passed:
            count = sum(item.yours.shape[1] for item in self.tensors)
            return (
                f"Right: after each of {self.steps} steps all {count} weights are those of "
                f"torch's {self.like}."
            )
        worst = self._worst()
        where = f"at step {self.first}, by {worst.gap:.2g} in the {worst.tensor}"
        return (
            f"Not yet: your weights leave those of torch's {self.like} {where}. {self.hint}".strip()
        )

    def table(self) -> Table:
        """One row a tensor."""
        return Table(
            {
                "tensor": f"{item.tensor} {item.shape}",
                "same weights": item.first is None,
                "first difference": "-" if item.first is None else f"step {item.first}",
                "its size": "-" if item.first is None else f"{item.gap:.2g}",
                "at the end": f"{np.abs(item.yours[-1] - item.theirs[-1]).max():.2g}",
            }
            for item in self.tensors
        )

    def _worst(self) -> Compared:
        """The tensor to look at: of those that differ first, the one that differs most."""
        return min(
            self.tensors,
            key=lambda item: (self.steps + 1 if item.first is None else item.first, -item.gap),
        )

    def figure(self) -> go.Figure:
        """One weight over the steps, by the learner's function and by torch.

        Raises:
            LabError: the function gave no weights to show.
        """
        from labkit.figures import step_check

        if not self.tensors:
            raise LabError(f"there are no weights to show. {self.problem}")
        item = self._worst()
        number = int(np.abs(item.yours - item.theirs).max(axis=0).argmax())
        return step_check(
            item.yours[:, number], item.theirs[:, number], f"torch's {self.like}", item.first
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/html": self._repr_html_(), "text/plain": repr(self)}, raw=True)
        if self.tensors:
            display(self.figure())

    def _repr_html_(self) -> str:
        color = "--jp-success-color1,#2e7d32" if self.passed else "--jp-warn-color0,#b35900"
        words = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(self.message))
        message = f"<p role='status'><b style='color:var({color})'>{words}</b></p>"
        return message + (self.table()._repr_html_() if self.tensors else "")

    def __repr__(self) -> str:
        return f"{self.message}\n{self.table()!r}" if self.tensors else self.message


def check_step(
    step: Step,
    like: str = "momentum",
    *,
    lr: float = 0.05,
    steps: int = 40,
    weight_decay: float = 0.0,
    seed: int = 0,
    **arguments: Any,
) -> StepCheck:
    """Run a learner's optimizer beside torch's, on the same gradients, and compare the weights.

    Whatever the function does wrong is part of the answer; nothing is raised for it.

    Args:
        step: `step(weights, gradient, state, lr) -> new weights`. `state` is a dict, empty
            at first and one for each tensor, in which it may keep what it likes.
        like: which optimizer it should be, a name in `OPTIMIZERS`.
        lr, weight_decay: of torch's; `step` is given the learning rate.
        steps: how many to make.
        seed: of the weights and the gradients.
        **arguments: the optimizer's own, such as `momentum=0.9`.

    Raises:
        LabError: `like`, or one of its arguments, is not known, or cannot be checked in this way.
    """
    entry = OPTIMIZERS[like]
    entry.check(arguments, "arguments")
    if entry.traits.get("closure"):
        raise LabError(
            f"like={like!r} cannot be checked step by step: it asks for the gradient at several "
            "places in each step. Choose another, such as momentum or adam."
        )
    if weight_decay and not entry.traits.get("weight_decay", True):
        raise LabError(f"weight_decay={weight_decay:g} is not allowed: {like} has no weight decay")
    try:
        check_signature(step)
    except LabError as error:
        return StepCheck(like, 0, problem=_sentence(str(error)))
    with one_thread():
        return _check(step, like, lr, steps, weight_decay, seed, arguments)


def _check(
    step: Step,
    like: str,
    lr: float,
    steps: int,
    decay: float,
    seed: int,
    arguments: dict[str, Any],
) -> StepCheck:
    generator = torch.Generator().manual_seed(seed)
    compared: list[Compared] = []
    starts: list[tuple[Tensor, Tensor]] = []
    for name, shape, scale in (*TENSORS, TINY):
        weights, gradients = _task(shape, scale, steps, generator)
        try:
            yours = _run(step, weights, gradients, lr)
        except LabError as error:
            # Where the first tensor went well, the reader must know which did not.
            where = f" (It is the {name} of shape {shape}.)" if compared else ""
            return StepCheck(like, steps, problem=f"{error}{where}")
        theirs = _torch(like, weights, gradients, lr, decay, arguments)
        first, gap = _first_difference(yours, theirs)
        compared.append(Compared(name, shape, yours, theirs, first, gap))
        starts.append((weights, gradients))
    hint = ""
    if any(item.first is not None for item in compared):
        for words, wrong in common_mistakes(like, arguments, decay):
            made = (_run(wrong, *start, lr, careful=False) for start in starts)
            if all(
                _first_difference(item.yours, other)[0] is None
                for item, other in zip(compared, made, strict=True)
            ):
                hint = words
                break
    return StepCheck(like, steps, compared, hint=hint)


def _task(
    shape: tuple[int, ...], scale: float, steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Weights to start from, and a gradient for each step: a steady part and a noisy one.

    They do not depend on the weights, so that a difference stays where it arose.
    """

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    return scale * draw(*shape), scale * (draw(*shape) + draw(steps, *shape))


def _run(
    step: Step, weights: Tensor, gradients: Tensor, lr: float, *, careful: bool = True
) -> np.ndarray:
    """The weights after each step of a function, `(steps + 1, numbers)`."""
    state: dict[str, Any] = {}
    path = [weights]
    for number, gradient in enumerate(gradients, start=1):
        one = path[-1]
        new = call(step, one, gradient, state, lr, number) if careful else None
        path.append(step(one, gradient, state, lr) if new is None else new)
    return torch.stack(path).reshape(len(path), -1).numpy()


def _torch(
    like: str,
    weights: Tensor,
    gradients: Tensor,
    lr: float,
    decay: float,
    arguments: dict[str, Any],
) -> np.ndarray:
    """The weights after each step of torch's optimizer, `(steps + 1, numbers)`."""
    moving = weights.clone().requires_grad_()
    optimizers = optimize.build(like, [moving], lr, decay, arguments)
    path = [weights]
    for gradient in gradients:
        moving.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
        path.append(moving.detach().clone())
    return torch.stack(path).reshape(len(path), -1).numpy()


def _first_difference(yours: np.ndarray, theirs: np.ndarray) -> tuple[int | None, float]:
    """The first step whose weights differ by more than rounding, and by how much."""
    gaps = np.abs(yours - theirs).max(axis=1)
    moved = np.maximum.accumulate(np.abs(theirs - theirs[0]).max(axis=1))
    differ = np.flatnonzero(~(gaps <= RTOL * moved + ATOL))
    return (int(differ[0]), float(gaps[differ[0]])) if len(differ) else (None, 0.0)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
