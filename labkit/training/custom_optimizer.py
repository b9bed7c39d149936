"""An optimizer written by hand: one function, with its arguments and results checked."""

from __future__ import annotations

import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, optim

from labkit.core.errors import LabError

Step = Callable[[Tensor, Tensor, dict[str, Any], float], Tensor]
"""`step(weights, gradient, state, lr) -> new weights`; `state` is a dict, empty at first."""

SIGNATURE = "step(weights, gradient, state, lr)"


class Handmade(optim.Optimizer):
    """Makes a torch optimizer of a learner's `step`: each tensor has a state of its own.

    Args:
        params: the tensors to move.
        lr: what `step` is given.
        function: the learner's `step`.

    Raises:
        LabError: `function` has another signature; during training, what `call` raises.
    """

    def __init__(self, params: Sequence[Tensor], lr: float, function: Step) -> None:
        check_signature(function)
        self._function = function
        self._number = 0
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every tensor that has a gradient."""
        self._number += 1
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    new = call(self._function, p, p.grad, state, group["lr"], self._number)
                    p.copy_(new)


def check_signature(function: Any) -> None:
    """Refuse what cannot be called as `step(weights, gradient, state, lr)`.

    Raises:
        LabError: it is no function, or takes other arguments.
    """
    if not callable(function):
        raise LabError(f"a step is a function {SIGNATURE}, not {_kind(function)}")
    try:
        inspect.signature(function).bind(None, None, {}, 0.1)
    except TypeError as error:
        raise LabError(f"your function must take (weights, gradient, state, lr): {error}") from None
    except ValueError:  # a builtin without a signature: calling it will show
        pass


@torch.no_grad()
def call(
    function: Step,
    weights: Tensor,
    gradient: Tensor,
    state: dict[str, Any],
    lr: float,
    number: int,
) -> Tensor:
    """The new weights that a learner's function gives for one step.

    It gets copies, so that it cannot change the tensors in training.

    Args:
        function: `step(weights, gradient, state, lr)`.
        weights, gradient: of one shape.
        state: a dict that it may write into.
        lr: the learning rate.
        number: which step it is, from 1, for the messages.

    Raises:
        LabError: it failed, or returned what cannot be new weights.
    """
    given, slope = weights.detach().clone(), gradient.detach().clone()
    try:
        new = function(given, slope, state, lr)
    except Exception as error:  # whatever a beginner's code can do
        raise LabError(f"Step {number}: {_failure(error)}") from None
    if problem := _problem(new, weights, given, slope, gradient):
        raise LabError(f"Step {number}: {problem}")
    return new.detach().to(weights.dtype)


def _failure(error: Exception) -> str:
    """The message of an exception in the learner's code, with the line that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    frame = next(reversed(own or frames), None)
    line = frame and (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    line = textwrap.shorten(line or "", 70, placeholder=" …")
    where = f" in the line `{line}`" if line else ""
    what = str(error).splitlines()[0] if str(error) else "no message"
    message = f"your function stopped{where}. Python says {type(error).__name__}: {what}."
    if isinstance(error, KeyError):
        message += (
            " At the first step `state` is empty: read it with `state.get(name, first value)`."
        )
    return message


def _problem(
    new: Any, weights: Tensor, given: Tensor, slope: Tensor, gradient: Tensor
) -> str | None:
    """Why a result cannot be new weights, in a sentence or two; None where it can."""
    shape = tuple(weights.shape)
    if not _same(given, weights):
        return (
            "your function changed the weights that it was given. Leave them as they are and "
            "return new ones: `weights - …`, not `weights -= …` or `weights.sub_(…)`."
        )
    if not _same(slope, gradient):
        return (
            "your function changed the gradient in place. Other code that uses it would get your "
            "version: write `gradient = gradient + …`, not `gradient += …` or `.add_(…)`."
        )
    if new is None:
        return "your function returned nothing (None). Its last line should return the new weights."
    if isinstance(new, tuple):
        return (
            "your function returned a tuple. Return the new weights alone; what you want to "
            "remember goes into `state`."
        )
    if not isinstance(new, Tensor):
        return (
            f"your function returned {_kind(new)}, not a tensor. Compute with the tensors you "
            "are given and return the new weights."
        )
    if tuple(new.shape) != shape:
        return (
            f"your function returned a tensor of shape {tuple(new.shape)}, but the weights have "
            f"shape {shape}. There must be one new weight for each old one."
        )
    if not new.is_floating_point():
        return f"your function returned {new.dtype} numbers. Weights are floating-point numbers."
    if not bool(torch.isfinite(new).all()):
        what = "NaN (not a number)" if bool(torch.isnan(new).any()) else "infinite"
        return (
            f"the new weights are {what}, though weights and gradient were ordinary numbers. "
            "Look for a division by zero or a root of something negative."
        )
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether a tensor is what it was (NaN, which a gradient may hold, included)."""
    return one.shape == other.shape and torch.equal(
        torch.nan_to_num(one), torch.nan_to_num(other.detach())
    )


def _kind(value: Any) -> str:
    """What a value is, in words: `a list`, `the number 3`."""
    if isinstance(value, bool | int | float):
        return f"the number {value:g}"
    if isinstance(value, np.ndarray):
        return "a numpy array"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
