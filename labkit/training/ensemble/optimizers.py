"""One torch optimizer for many members, whatever their learning rates and weight decays."""

from __future__ import annotations

import functools
import inspect

import torch
from torch import Tensor

from labkit.recipe import optimize
from labkit.recipe.recipe import Recipe


def group_key(recipe: Recipe) -> tuple[object, ...]:
    """What recipes have in common that one torch optimizer can update together."""
    arguments = tuple(sorted(recipe.optimizer_args.items()))
    if recipe.entry("optimizer").traits["elementwise"] == "scaled":
        return (recipe.optimizer, arguments)
    schedule = (recipe.schedule, tuple(sorted(recipe.schedule_args.items())))
    return (recipe.optimizer, arguments, recipe.lr, recipe.weight_decay, *schedule)


class Group:
    """Members that one torch optimizer updates together.

    Where its step is proportional to the learning rate, the optimizer updates zeros with a
    learning rate of 1: the result is the step, which is then scaled by each member's own
    rate. Weight decay must not reach that optimizer: it is added here, as torch would:
    to the gradient, or to the weights where it is decoupled.

    Args:
        members: their recipes.
        weights: `(members, total)`; steps are made in place.
        gradient: the same shape; read at each step.
    """

    def __init__(self, members: list[Recipe], weights: Tensor, gradient: Tensor) -> None:
        recipe = members[0]
        traits = recipe.entry("optimizer").traits
        self._scaled = traits["elementwise"] == "scaled"
        self._decoupled = bool(traits.get("decoupled"))
        self._moved = torch.zeros_like(weights) if self._scaled else weights.clone()
        lr, decay = (1.0, 0.0) if self._scaled else (recipe.lr, recipe.weight_decay)
        (self._optimizer,) = optimize.build(
            recipe.optimizer, [self._moved], lr, decay, recipe.optimizer_args
        )
        for group in self._optimizer.param_groups:
            if "fused" in group:  # one pass over the numbers instead of ten
                group["fused"] = True
        # Without what torch wraps around it for its profiler: that takes as long as the step.
        self._move = functools.partial(inspect.unwrap(type(self._optimizer).step), self._optimizer)
        decays = torch.tensor([[m.weight_decay] for m in members], device=weights.device)
        self._decay = decays if self._scaled and bool(decays.any()) else None
        self._bind(weights, gradient)

    def _bind(self, weights: Tensor, gradient: Tensor) -> None:
        self._weights, self._gradient = weights, gradient
        self._moved.grad = gradient

    @property
    def count(self) -> int:
        return len(self._moved)

    def step(self, rates: Tensor) -> None:
        """Update the weights with the learning rates `rates`, `(members, 1)`."""
        weights, moved = self._weights, self._moved
        if not self._scaled:
            for group in self._optimizer.param_groups:
                group["lr"] = float(rates[0])
            moved.copy_(weights)
            self._move()
            weights.copy_(moved)
            return
        if self._decay is not None:
            if self._decoupled:
                weights.mul_(1 - rates * self._decay)
            else:
                moved.grad = torch.addcmul(self._gradient, self._decay, weights)
        self._move()
        weights.addcmul_(rates, moved)
        moved.zero_()

    def keep(self, rows: Tensor, weights: Tensor, gradient: Tensor) -> None:
        """Keep some members, whose weights and gradients are in other tensors now."""
        shape = self._moved.shape
        for state in self._optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == shape:
                    state[name] = value[rows]
        self._moved.grad = None
        self._moved.data = self._moved[rows]
        self._decay = None if self._decay is None else self._decay[rows]
        self._bind(weights, gradient)
