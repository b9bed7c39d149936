"""Paths of optimizers over toy surfaces: every position, and the optimizer's state."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, optim

from labkit.core.errors import LabError
from labkit.core.threads import one_thread
from labkit.recipe import optimize
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.schedules import Schedule
from labkit.toys.surfaces import Point, Surface, surface
from labkit.training.custom_optimizer import Handmade, Step, check_signature

MOST_STEPS = 10_000
ROUND = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)  # Renard's R10: even on a log scale
RATES = tuple(float(f"{digit}e{decade}") for decade in range(-4, 1) for digit in ROUND)
"""Learning rates that `tune` tries; of optimizers whose rates cannot run together, every third."""


@dataclass(frozen=True)
class Walk:
    """What an optimizer did on a surface.

    Attributes:
        surface, optimizer, lr: what walked where; `optimizer` is a name.
        path: positions, `(k + 1, 2)`; k is the number of steps unless it diverged.
        losses: the loss at each, `(k + 1,)`.
        gradients: the slope at each, `(k + 1, 2)`.
        state: the optimizer's memory after each step, by torch's own names (`exp_avg`,
            `momentum_buffer`, …), `(k + 1, 2)` each; NaN before there is any. Besides, as
            the step uses them: `mean` (the velocity, or Adam's unbiased m), `root` (Adam's
            unbiased √v, and what others divide by) and `effective_lr`, the factor on each
            coordinate of the gradient or of `mean`. Each is there where the method has it.
        evaluations: how often it asked for the gradient.
        diverged: the step that left the map for good, or None.
    """

    surface: Surface
    optimizer: str
    lr: float
    path: np.ndarray
    losses: np.ndarray
    gradients: np.ndarray
    state: dict[str, np.ndarray] = field(default_factory=dict)
    evaluations: int = 0
    diverged: int | None = None

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.path) - 1

    @property
    def message(self) -> str:
        """One sentence on how it ended."""
        if self.diverged is not None:
            return f"diverged: step {self.diverged} left the map for good"
        return f"loss {self.losses[-1]:.3g} after {self.steps} steps"

    def arrival(self, loss: float) -> int | None:
        """The first step from which on the loss stays at or below `loss`, or None."""
        above = np.flatnonzero(~(self.losses <= loss))
        first = int(above[-1]) + 1 if len(above) else 0
        return first if first < len(self.losses) and self.diverged is None else None


def walk(
    place: Surface | str,
    optimizer: str | Step = "sgd",
    lr: float | None = None,
    *,
    steps: int = 100,
    start: Point | None = None,
    optimizer_args: Mapping[str, Any] | None = None,
    schedule: str = "constant",
    schedule_args: Mapping[str, Any] | None = None,
) -> Walk:
    """Let an optimizer walk over a surface.

    Args:
        place: a `Surface`, or the name of one.
        optimizer: a name in `OPTIMIZERS`, or a function
            `step(weights, gradient, state, lr) -> new weights`.
        lr: the learning rate; without one, the best that `tune` finds.
        steps: how many.
        start: where; by default the surface's own start.
        optimizer_args, schedule, schedule_args: as in a recipe.

    Returns:
        The walk; one that diverges ends there, and says at which step.

    Raises:
        LabError: an unknown name, a bad value, an optimizer that cannot walk here, or
            what a function of one's own did wrong.
    """
    ground, begin = _checked(place, optimizer, steps, start, optimizer_args)
    if lr is None:
        lr = tune(ground, optimizer, steps=steps, start=begin, optimizer_args=optimizer_args)
    if not (math.isfinite(lr) and lr > 0):
        raise LabError(f"lr={lr} is not allowed: give a number above 0, such as 0.1")

    with one_thread():
        return _walk(
            ground,
            optimizer,
            lr,
            steps,
            begin,
            optimizer_args,
            Schedule(schedule, steps, schedule_args),
        )


def _checked(
    place: Surface | str,
    optimizer: str | Step,
    steps: int,
    start: Point | None,
    arguments: Mapping[str, Any] | None,
) -> tuple[Surface, Point]:
    """Where a walk starts, checked."""
    ground = surface(place)
    if not 1 <= steps <= MOST_STEPS:
        raise LabError(f"steps={steps} is not allowed: give a whole number from 1 to {MOST_STEPS}")
    begin = ground.start if start is None else (float(start[0]), float(start[1]))
    if not all(map(math.isfinite, begin)):
        raise LabError(f"start={start} is not a place: give two numbers such as {ground.start}")
    if isinstance(optimizer, str):
        check(optimizer)
        OPTIMIZERS[optimizer].check(arguments or {}, "optimizer_args")
    else:
        check_signature(optimizer)
    loss = ground.loss(begin)
    if not loss <= ground.far:
        raise LabError(f"start={begin} is too far away on {ground.name}: its loss is {loss:.3g}")
    return ground, begin


def _walk(
    ground: Surface,
    optimizer: str | Step,
    lr: float,
    steps: int,
    begin: Point,
    arguments: Mapping[str, Any] | None,
    schedule: Schedule,
    remember: bool = True,
) -> Walk:
    weights = torch.tensor(begin, dtype=torch.float64, requires_grad=True)
    if isinstance(optimizer, str):
        (made,) = optimize.build(optimizer, [weights], lr, arguments=arguments)
        name = optimizer
    else:
        made = Handmade([weights], lr, optimizer)
        name = getattr(optimizer, "__name__", "yours")
    asked = 0

    def closure() -> Tensor:
        nonlocal asked
        asked += 1
        loss = ground.value(weights)
        (weights.grad,) = torch.autograd.grad(loss, weights)
        return loss.detach()

    by_closure = isinstance(optimizer, str) and OPTIMIZERS[optimizer].traits.get("closure")
    path, losses, gradients, memory = [], [], [], []
    diverged = None
    for number in range(steps + 1):
        loss = float(closure())
        if not (math.isfinite(loss) and loss <= ground.far):
            diverged = number
            break
        path.append(weights.detach().numpy().copy())
        losses.append(loss)
        gradients.append(weights.grad.numpy().copy())  # type: ignore[union-attr]
        memory.append(_memory(made, weights, number) if remember else {})
        if number == steps:
            break
        for group in made.param_groups:
            group["lr"] = lr * schedule.factor
        if by_closure:
            made.step(closure)  # type: ignore[arg-type]
        else:
            made.step()
        schedule.advance(loss)
    return Walk(
        ground,
        name,
        lr,
        np.array(path),
        np.array(losses),
        np.array(gradients),
        _collect(memory),
        asked,
        diverged,
    )


def check(optimizer: str) -> None:
    """Refuse an optimizer that cannot walk over two weights, and say why.

    Raises:
        LabError: an unknown name, or one that needs matrices.
    """
    if OPTIMIZERS[optimizer].traits.get("matrices"):
        raise LabError(
            f"{optimizer} cannot walk here: it makes the steps of a matrix of weights "
            "orthogonal, and the two weights of a surface are a vector. In a network it moves "
            "the matrices and leaves vectors to adamw: choose adamw here."
        )


def tune(
    place: Surface | str,
    optimizer: str | Step,
    *,
    steps: int = 100,
    start: Point | None = None,
    optimizer_args: Mapping[str, Any] | None = None,
) -> float:
    """The learning rate with which an optimizer reaches the lowest loss: for fair comparisons.

    It tries ten in every decade from 0.0001 to 8 and takes the lowest mean loss over
    the last tenth of the steps (so that no lucky last step wins); of rates that all arrive,
    the one whose whole walk was lowest.

    Raises:
        LabError: as `walk`.
    """
    ground, begin = _checked(place, optimizer, steps, start, optimizer_args)
    own = tuple((optimizer_args or {}).items())
    with one_thread():
        return _tuned(ground, optimizer, steps, begin, own)


@functools.lru_cache(maxsize=256)
def _tuned(
    ground: Surface, optimizer: str | Step, steps: int, begin: Point, own: tuple[Any, ...]
) -> float:
    walks: Callable[..., Iterable[np.ndarray]]
    if isinstance(optimizer, str) and OPTIMIZERS[optimizer].traits.get("elementwise") == "scaled":
        rates, walks = RATES, _together
    else:
        rates, walks = RATES[::3], _one_by_one
    curves = walks(ground, optimizer, rates, steps, begin, dict(own))
    best, found = (math.inf, math.inf), RATES[0]
    for lr, losses in zip(rates, curves, strict=True):
        last = float(np.mean(losses[-max(1, steps // 10) :]))
        score = (max(last, 1e-9), float(np.mean(losses)))
        if math.isfinite(last) and score < best:
            best, found = score, lr
    return found


Rates = Sequence[float]


def _one_by_one(
    ground: Surface,
    optimizer: str | Step,
    rates: Rates,
    steps: int,
    begin: Point,
    own: dict[str, Any],
) -> Iterator[np.ndarray]:
    """The losses with each learning rate, infinite from where a walk diverged."""
    for lr in rates:
        constant = Schedule("constant", steps)
        losses = _walk(ground, optimizer, lr, steps, begin, own, constant, remember=False).losses
        yield np.pad(losses, (0, steps + 1 - len(losses)), constant_values=math.inf)


def _together(
    ground: Surface, optimizer: Any, rates: Rates, steps: int, begin: Point, own: dict[str, Any]
) -> np.ndarray:
    """The same at once: one row of weights for each rate, moved by one optimizer whose lr is
    1; its steps are then scaled row by row, which for these optimizers is the same thing.
    """
    scale = torch.tensor(rates, dtype=torch.float64)[:, None]
    weights = torch.tensor([begin] * len(rates), dtype=torch.float64, requires_grad=True)
    (made,) = optimize.build(optimizer, [weights], 1.0, arguments=own)
    curves = []
    for _ in range(steps + 1):
        losses = ground.value(weights)
        (weights.grad,) = torch.autograd.grad(losses.sum(), weights)
        curves.append(losses.detach().numpy())
        before = weights.detach().clone()
        made.step()
        with torch.no_grad():
            weights.copy_(before + scale * (weights - before))
    curve = np.stack(curves, axis=1)
    gone = np.logical_or.accumulate(~(curve <= ground.far), axis=1)
    return np.where(gone, math.inf, curve)


# --- the optimizers' state ------------------------------------------------------------


def _memory(optimizer: optim.Optimizer, weights: Tensor, number: int) -> dict[str, np.ndarray]:
    """Every vector of the optimizer's state, and how it enters the step."""
    state = optimizer.state.get(weights, {})
    found = {
        str(name): value.detach().numpy().astype(np.float64)  # a copy
        for name, value in state.items()
        if isinstance(value, Tensor) and value.shape == weights.shape
    }
    use = USES.get(type(optimizer))
    if use is not None and number:
        for name, value in use(optimizer.param_groups[0], found, number).items():
            found[name] = np.broadcast_to(np.asarray(value, np.float64), (2,))
    return found


def _collect(memory: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for one in memory for name in one)
    nothing = np.full(2, np.nan)
    return {name: np.array([one.get(name, nothing) for one in memory]) for name in names}


Memory = dict[str, np.ndarray]
Use = Callable[[dict[str, Any], Memory, int], dict[str, Any]]


def _sgd(group: dict[str, Any], memory: Memory, t: int) -> dict[str, Any]:
    velocity = {"mean": memory["momentum_buffer"]} if "momentum_buffer" in memory else {}
    return {**velocity, "effective_lr": group["lr"]}


def _asgd(group: dict[str, Any], memory: Memory, t: int) -> dict[str, Any]:
    shrunk = (1 + group["lambd"] * group["lr"] * (t - 1)) ** group["alpha"]
    return {"effective_lr": group["lr"] / shrunk}


def _adam(group: dict[str, Any], memory: Memory, t: int) -> dict[str, Any]:
    """Both averages start at 0, and the divisions by 1 - βᵗ make up for it."""
    beta1, beta2 = group["betas"]
    root = np.sqrt(memory["exp_avg_sq"] / (1 - beta2**t))
    mean = memory["exp_avg"] / (1 - beta1**t)
    return {"mean": mean, "root": root, "effective_lr": group["lr"] / (root + group["eps"])}


def _radam(group: dict[str, Any], memory: Memory, t: int) -> dict[str, Any]:
    """Liu et al. 2020, algorithm 2: while the variance cannot be trusted, plain momentum."""
    beta = group["betas"][1]
    used = _adam(group, memory, t)
    longest = 2 / (1 - beta) - 1
    length = longest - 2 * t * beta**t / (1 - beta**t)
    if length <= 5:
        return {**used, "effective_lr": group["lr"]}
    up = (length - 4) * (length - 2) * longest
    rectified = math.sqrt(up / ((longest - 4) * (longest - 2) * length))
    return {**used, "effective_lr": rectified * used["effective_lr"]}


def _adamax(group: dict[str, Any], memory: Memory, t: int) -> dict[str, Any]:
    mean = memory["exp_avg"] / (1 - group["betas"][0] ** t)
    root = memory["exp_inf"]  # ε is in it
    return {"mean": mean, "root": root, "effective_lr": group["lr"] / root}


def _rooted(name: str) -> Use:
    def use(group: dict[str, Any], memory: Memory, t: int) -> dict[str, Any]:
        root = np.sqrt(memory[name])
        return {"root": root, "effective_lr": group["lr"] / (root + group["eps"])}

    return use


# The factor on each weight. LBFGS turns the gradient, Rprop ignores its size, and
# Adadelta has moved its numerator by the time it can be read: for them there is no factor.
USES: dict[type[optim.Optimizer], Use] = {
    optim.SGD: _sgd,
    optim.ASGD: _asgd,
    optim.Adam: _adam,
    optim.AdamW: _adam,
    optim.NAdam: _adam,
    optim.RAdam: _radam,
    optim.Adamax: _adamax,
    optim.RMSprop: _rooted("square_avg"),
    optim.Adagrad: _rooted("sum"),
}
