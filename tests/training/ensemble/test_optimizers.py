"""One optimizer for all members, against one of torch's for each."""

from __future__ import annotations

import pytest
import torch

from labkit.recipe import optimize
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from labkit.training.ensemble.optimizers import Group, group_key

ELEMENTWISE = [name for name, entry in OPTIMIZERS.items() if entry.traits.get("elementwise")]


def members(name: str) -> list[Recipe]:
    """Three of one group: of other rates and decays, where one optimizer can do that."""
    first = Recipe(optimizer=name, lr=0.05)
    if OPTIMIZERS[name].traits.get("weight_decay") is False:
        return [first] * 3
    first = first.replace(weight_decay=0.01)
    others = [first.replace(lr=0.2, weight_decay=0.0), first.replace(lr=0.01, weight_decay=0.1)]
    return [first, *others] if group_key(first) == group_key(others[0]) else [first] * 3


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("leaving", [False, True])
def test_each_member_moves_as_with_an_optimizer_of_its_own(name, leaving):
    recipes = members(name)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 20, generator=generator)
    gradient = torch.zeros_like(weights)
    own = [torch.nn.Parameter(row.clone()) for row in weights]
    theirs = [
        optimize.build(r.optimizer, [p], r.lr, r.weight_decay, r.optimizer_args)[0]
        for r, p in zip(recipes, own, strict=True)
    ]
    group, rows = Group(recipes, weights, gradient), torch.arange(3)
    rates = torch.tensor([[r.lr] for r in recipes])
    for step in range(12):
        if leaving and step == 5:
            keep = torch.tensor([0, 2])
            rows, rates, weights, gradient = rows[keep], rates[keep], weights[keep], gradient[keep]
            group.keep(keep, weights, gradient)
        slopes = torch.randn(3, 20, generator=generator)
        gradient.copy_(slopes[rows])
        group.step(rates)
        for parameter, optimizer, slope in zip(own, theirs, slopes, strict=True):
            parameter.grad = slope.clone()
            optimizer.step()
    for row, number in enumerate(rows.tolist()):
        torch.testing.assert_close(weights[row], own[number].detach(), rtol=1e-4, atol=1e-5)
    assert group.count == len(rows)
