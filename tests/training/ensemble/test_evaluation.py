"""Evaluations of a stack, against each member's own network by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from labkit.recipe.recipe import Recipe
from labkit.training.ensemble import evaluation as module
from labkit.training.ensemble.batches import Samples
from labkit.training.ensemble.evaluation import evaluate
from labkit.training.ensemble.stack import Stack

CPU = torch.device("cpu")


@pytest.mark.parametrize("memory", [1, 2**26], ids=["row by row", "at once"])
@pytest.mark.parametrize("most", [7, None])
@pytest.mark.parametrize("data_seeds", [(0, 0, 0), (0, 1, 0)], ids=["same data", "own data"])
@pytest.mark.parametrize("task", ["moons", "regression"])
def test_losses_and_accuracies_of_every_member(task, data_seeds, most, memory, monkeypatch):
    monkeypatch.setattr(module, "_BYTES", memory)
    recipes = [Recipe(task=task, hidden=(8,), data_seed=seed) for seed in data_seeds]
    data = [recipe.data() for recipe in recipes]
    network = recipes[0].build_network()
    stack = Stack(recipes[0].build_network(), len(recipes), CPU)
    stack.flat.normal_(generator=torch.Generator().manual_seed(0))
    found = evaluate(stack, Samples(data, CPU), most)
    assert found.shape == (3, 4)
    for row, weights, own in zip(found, stack.flat, data, strict=True):
        nn.utils.vector_to_parameters(weights.clone(), network.parameters())
        wanted = []
        for x, y in ((own.train_inputs, own.train_targets), (own.val_inputs, own.val_targets)):
            with torch.no_grad():
                outputs, y = network(x[:most]), y[:most]
            if own.classes:
                right = (outputs.argmax(1) == y).double().mean().item()
                wanted += [functional.cross_entropy(outputs, y).item(), right]
            else:
                wanted += [functional.mse_loss(outputs, y).item(), np.nan]
        np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-6)


def test_accuracy_takes_the_first_of_equal_outputs_as_argmax_does():
    recipe = Recipe(task="moons", hidden=(8,))
    data = recipe.data()
    stack = Stack(recipe.build_network(), 1, CPU)  # all weights and all logits are 0
    ((_, train, _, val),) = evaluate(stack, Samples([data], CPU), None)
    assert train == pytest.approx((data.train_targets == 0).double().mean().item())
    assert val == pytest.approx((data.val_targets == 0).double().mean().item())
