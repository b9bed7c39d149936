from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit, initial_network
from tests.diagnosis.runs import kinds, scaled, the


@pytest.mark.parametrize("factor", [2.5, 0.25])
def test_the_std_of_activations_is_a_power_of_the_factor(factor):
    kind = "exploding_activations" if factor > 1 else "vanishing_activations"
    evidence = the(kind, fit(scaled(factor))).evidence
    powers = factor ** np.arange(1, 7)
    expected = powers if factor > 1 else powers[:-1]
    np.testing.assert_allclose(evidence["std"], expected, rtol=1e-5)
    assert evidence["layer"] == ("the output" if factor > 1 else "layer5")


@pytest.mark.parametrize(("factor", "depth"), [(1.5, 5), (2.5, 3), (0.5, 5), (0.25, 3)])
def test_a_moderate_factor_is_let_pass(factor, depth):
    """1.5⁶ = 11, 2.5⁴ = 39 > 30 at the output; 0.5⁵ = 0.03 and 0.25³ = 0.016 are above 0.01."""
    found = [kind for kind in kinds(fit(scaled(factor, depth))) if "activations" in kind]
    assert found == (["exploding_activations"] if factor ** (depth + 1) > 30 else [])


def test_the_gradient_is_compared_with_the_outputs():
    """Sample by sample, with autograd from the first layer's output on."""
    recipe = Recipe(
        task="moons",
        hidden=(8,) * 6,
        activation="sigmoid",
        init="xavier_normal",
        optimizer="sgd",
        lr=0.01,
        steps=20,
    )
    evidence = the("vanishing_gradients", fit(recipe)).evidence
    network = initial_network(recipe)
    inputs, targets = recipe.data().train_inputs[:256], recipe.data().train_targets[:256]
    ratios = []
    for x, y in zip(inputs, targets, strict=True):
        first = network.layer1(x[None]).detach().requires_grad_()
        current, last = first, None
        for name, module in list(network.named_children())[1:]:
            current = module(current)
            last = current if name == "output" else last
        last.retain_grad()
        torch.nn.functional.cross_entropy(last, y[None]).backward()
        ratios.append((first.grad.norm() ** 2, last.grad.norm() ** 2))
    expected = math.sqrt(sum(a for a, _ in ratios) / sum(b for _, b in ratios))
    assert evidence["ratio"] == pytest.approx(expected, rel=1e-3)
    assert evidence["layer"] == "layer1"
