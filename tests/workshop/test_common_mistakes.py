from __future__ import annotations

import pytest
import torch

from labkit.recipe.optimize import OPTIMIZERS
from labkit.workshop.check import check_step
from labkit.workshop.common_mistakes import common_mistakes

VARIANTS = [
    (like, decay, number)
    for like in OPTIMIZERS
    for decay in (0.0, 0.1)
    if OPTIMIZERS[like].traits.get("weight_decay", True)
    and not OPTIMIZERS[like].traits.get("closure")
    and not (decay and like in ("rmsprop", "adagrad"))
    for number, _ in enumerate(common_mistakes(like, {}, decay))
]


@pytest.mark.parametrize(("like", "decay", "number"), VARIANTS)
def test_every_mistake_differs_from_torch_and_from_the_others(like, decay, number):
    hint, step = list(common_mistakes(like, {}, decay))[number]
    found = check_step(step, like, weight_decay=decay)
    assert not found.passed, "this is no mistake"
    assert found.hint == hint, "another hint comes first"


def momentum_with(weights, gradients, lr, change):
    """Two steps of momentum 0.9 in plain arithmetic, `change` saying what is wrong."""
    velocity = 0.0
    for gradient in gradients:
        velocity = change.get("keep", 0.9) * velocity + change.get("share", 1.0) * gradient
        weights = weights - change.get("lr", lr) * velocity
    return weights


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("never decays", {"keep": 1.0}),
        ("multiplied by (1 - momentum)", {"share": 0.1}),
        ("learning rate is missing", {"lr": 1.0}),
        ("learning rate is applied twice", {"lr": 0.05**2}),
    ],
)
def test_a_mistake_is_the_one_that_its_hint_describes(part, change):
    found = [step for hint, step in common_mistakes("momentum", {}, 0.0) if part in hint]
    (step,) = found
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    gradients = torch.tensor([[0.5, 0.25], [-1.0, 2.0]], dtype=torch.float64)
    expected, state = momentum_with(weights, gradients, 0.05, change), {}
    for gradient in gradients:
        weights = step(weights, gradient, state, 0.05)
    torch.testing.assert_close(weights, expected)


def test_arguments_reach_the_mistakes():
    gradient = torch.tensor([1.0])
    hint = "The weight decay is missing"
    by_default, given = (
        [step for words, step in common_mistakes("momentum", arguments, 0.1) if hint in words]
        for arguments in ({}, {"momentum": 0.5})
    )
    second = []
    for (step,) in (by_default, given):
        state = {}
        first = step(torch.zeros(1), gradient, state, 1.0)
        second.append(float(first - step(first, gradient, state, 1.0)))
    assert second == pytest.approx([1.9, 1.5])  # momentum + 1: the second step
