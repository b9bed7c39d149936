"""Signals against what torch's autograd says of the same network, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from labkit.propagation import signals
from labkit.recipe import Recipe
from labkit.training import initial_network

MLP = Recipe(task="moons", hidden=(5, 4), activation="relu", samples=40)
CNN = Recipe(task="digits", network="cnn", hidden=(3, 4), samples=60)
CURVE = Recipe(task="regression", hidden=(6,), samples=40)


@pytest.mark.parametrize("recipe", [MLP, CNN, CURVE], ids=["mlp", "cnn", "regression"])
def test_the_gradient_of_the_first_layer_is_autograds(recipe):
    """Per sample: the gradient of its own loss by the first layer's output."""
    network, data = initial_network(recipe), recipe.data()
    found = signals(recipe, samples=8)
    children = list(network.children())
    start = next(i for i, m in enumerate(children) if hasattr(m, "weight"))
    loss = functional.cross_entropy if data.classes else functional.mse_loss
    for k in range(8):
        x = data.train_inputs[k : k + 1]
        for module in children[: start + 1]:
            x = module(x)
        x = x.detach().requires_grad_()
        y = x
        for module in children[start + 1 :]:
            y = module(y)
        loss(y, data.train_targets[k : k + 1]).backward()
        np.testing.assert_allclose(found[0].before[k], x.detach()[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[0].gradient[k], x.grad[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recipe", [MLP, CNN, CURVE], ids=["mlp", "cnn", "regression"])
def test_weight_gradients_are_those_of_the_mean_loss(recipe):
    network, data = initial_network(recipe), recipe.data()
    loss = functional.cross_entropy if data.classes else functional.mse_loss
    loss(network(data.train_inputs[:10]), data.train_targets[:10]).backward()
    for signal in signals(recipe, samples=10):
        wanted = network.get_submodule(signal.layer).weight.grad
        np.testing.assert_allclose(signal.weight_gradient, wanted, rtol=1e-4, atol=1e-7)


def test_what_is_behind_the_activation():
    for signal in signals(MLP)[:-1]:
        np.testing.assert_array_equal(signal.after, np.maximum(signal.before, 0))
    last = signals(MLP)[-1]
    assert last.layer == "output"
    np.testing.assert_array_equal(last.after, last.before)


def test_layers_in_order_and_shapes():
    found = signals(CNN, samples=7)
    assert [signal.layer for signal in found] == ["conv1", "conv2", "output"]
    assert [signal.after.shape for signal in found] == [(7, 3, 8, 8), (7, 4, 4, 4), (7, 10)]


def test_other_weights():
    zero = np.zeros(sum(p.numel() for p in initial_network(MLP).parameters()), np.float32)
    assert all((signal.before == 0).all() for signal in signals(MLP, zero))
    with pytest.raises(ValueError, match=r"\(3,\) weights for a network of \(49,\)"):
        signals(MLP, np.zeros(3))


def test_it_leaves_torchs_threads_alone():
    before = torch.get_num_threads()
    signals(MLP)
    assert torch.get_num_threads() == before
