from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from labkit.recipe.advice import advice
from labkit.recipe.networks import NETWORKS
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from tests.recipe.plain_torch import recipe_for, trained


@pytest.mark.parametrize("name", ["lbfgs", "rprop"])
def test_minibatches_where_a_full_batch_is_wanted(name):
    recipe = recipe_for(name)
    samples = len(recipe.data().train_inputs)
    (note,) = advice(recipe)
    assert note.startswith(f"{name} with minibatches of 16: ")
    assert note.endswith(f"batch_size={samples}.")
    assert advice(recipe.replace(batch_size=samples)) == []
    assert advice(recipe.replace(batch_size=samples - 1)) != []


def test_a_schedule_does_nothing_for_rprop_as_the_advice_says():
    recipe = recipe_for("rprop").replace(batch_size=63, schedule="exponential")
    (note,) = advice(recipe)
    assert "the schedule exponential does nothing" in note
    torch.testing.assert_close(trained(recipe), trained(recipe.replace(schedule="constant")))
    other = recipe.replace(optimizer="momentum")
    assert not torch.allclose(trained(other), trained(other.replace(schedule="constant")))
    assert advice(other) == []


def test_kernels_are_no_matrices():
    recipe = Recipe(task="digits", network="cnn", hidden=(4, 6), optimizer="muon")
    (note,) = advice(recipe)
    assert "output.weight alone" in note
    assert "left to adamw: conv1.weight (4-D), conv2.weight (4-D), and the biases" in note
    assert advice(recipe.replace(network="mlp")) == []


def test_a_network_without_any_matrix_leaves_nothing_to_muon(enter):
    def pooled(hidden, activation, data):
        kernels = nn.Conv2d(1, data.outputs, 3)
        return nn.Sequential(
            OrderedDict(conv1=kernels, pool=nn.AdaptiveMaxPool2d(1), flat=nn.Flatten())
        )

    enter(NETWORKS, "pooled", images_only=True)(pooled)
    (note,) = advice(Recipe(task="digits", network="pooled", optimizer="muon"))
    assert "adamw updates them all" in note


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"lbfgs", "rprop"}))
def test_most_combinations_need_no_advice(name):
    assert advice(Recipe(optimizer=name, schedule="cosine")) == []
