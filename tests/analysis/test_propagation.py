"""Signals against what torch's autograd says of the same network, sample by sample."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from labkit.analysis.propagation import (
    dead_shares,
    describe,
    layer_by_layer,
    per_layer,
    signals,
    spread,
    stds,
    sum_spread,
)
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import initial_network

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


# --- what they say -----------------------------------------------------------------------

DEEP = Recipe(task="digits", hidden=(64,) * 8, activation="relu", samples=400)


def test_a_factor_on_every_layer_is_a_factor_a_layer():
    """ReLU is homogeneous: half of every weight is half, a quarter, … of the activations."""
    whole = stds(signals(DEEP))
    half = stds(signals(DEEP.replace(init_args={"factor": 0.5})))
    np.testing.assert_allclose(half, np.array(whole) / 2.0 ** np.arange(1, 9), rtol=1e-4)


def test_stds_are_numpys_of_what_is_asked_for():
    flow = signals(MLP)
    for of in ("before", "after", "gradient"):
        wanted = [np.std(getattr(signal, of).astype(np.float64)) for signal in flow[:-1]]
        assert stds(flow, of) == pytest.approx(wanted, rel=1e-9)


def test_spread_of_huge_and_of_broken_numbers():
    assert spread(np.array([1e30, -1e30], np.float32)) == pytest.approx(1e30)
    assert spread(np.array([1.0, np.nan])) == np.inf
    assert spread(np.array([1.0, np.inf])) == np.inf
    assert spread(np.zeros(3)) == 0


def test_a_sigmoid_leaves_at_most_a_quarter_of_the_gradient():
    """Orthogonal weights keep each sample's length, so what is left is the sigmoid's slope."""
    recipe = Recipe(
        task="digits", hidden=(32,) * 6, activation="sigmoid", init="orthogonal", samples=200
    )
    back = [np.linalg.norm(signal.gradient, axis=1) for signal in signals(recipe)[:-1]]
    for nearer_input, nearer_output in itertools.pairwise(back):
        assert (nearer_input <= nearer_output / 4 * (1 + 1e-5)).all()


def test_dead_units_are_those_a_bias_pushed_below_zero():
    network = initial_network(MLP)
    with torch.no_grad():
        network.layer1.bias[:2] = -1e6
        network.layer2.bias[:] = 1e3
    weights = torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    before = dead_shares(signals(MLP))
    after = dead_shares(signals(MLP, weights))
    assert after[0] >= max(2 / 5, before[0])
    assert after[1] == 0


def test_channels_are_dead_when_all_their_pixels_are():
    recipe = CNN.replace(activation="relu")
    network = initial_network(recipe)
    with torch.no_grad():
        network.conv2.bias[:] = torch.tensor([-1e6, 1e6, -1e6, 1e6])
    weights = torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    assert dead_shares(signals(recipe, weights))[1] == 0.5


@pytest.mark.parametrize(
    ("first", "last", "layers", "factor"),
    [(1.0, 8.0, 4, 2.0), (1.0, 1.0, 9, 1.0), (3.0, 3.0 / 2**10, 11, 0.5)],
)
def test_per_layer_is_the_geometric_mean(first, last, layers, factor):
    assert per_layer(first, last, layers) == pytest.approx(factor)


@pytest.mark.parametrize(("first", "last", "layers"), [(0, 1, 3), (1, np.inf, 3), (1, 1, 1)])
def test_per_layer_of_nothing_is_nobodys_guess(first, last, layers):
    assert np.isnan(per_layer(first, last, layers))


@pytest.mark.parametrize(
    ("changes", "forward", "back"),
    [
        ({"init_args": {"factor": 0.5}}, "Activations shrink on their way forward", "shrink"),
        ({"init": "normal"}, "Activations grow on their way forward", "Gradients grow"),
        ({"init": "orthogonal", "activation": "identity"}, "Activations keep their size", "keep"),
        ({"init": "zeros"}, "exactly 0 in layer1", "exactly 0 in layer8"),
        ({"init": "constant", "init_args": {"value": 2.0}, "hidden": (1024,) * 14},
         "leave the range of 32-bit numbers in layer13.", "leave the range"),
        ({"hidden": (7,)}, "Activations: std", "in layer1."),
    ],
    ids=["half", "normal", "identity", "zeros", "overflow", "one layer"],
)  # fmt: skip
def test_sentences_say_what_the_numbers_do(changes, forward, back):
    activations, gradients = describe(signals(DEEP.replace(**changes), samples=32))
    assert forward in activations
    assert back in gradients


def test_a_network_without_hidden_layers_is_no_trouble():
    flow = signals(DEEP.replace(hidden=()))
    assert describe(flow) == ["There is no hidden layer."]
    assert stds(flow) == dead_shares(flow) == []


def test_layers_swapped_one_by_one():
    """Up to the last swapped layer it is the one network's signal, at the ends wholly."""
    start = DEEP.replace(hidden=(16, 16, 16), activation="gelu", init="lecun_normal")
    end = start.replace(init="lsuv")
    stages = layer_by_layer(start, end, samples=50)
    goal = signals(end, samples=50)
    assert len(stages) == 5
    for swapped, flow in enumerate(stages):
        for place, (signal, wanted) in enumerate(zip(flow, goal, strict=True)):
            same = np.allclose(signal.before, wanted.before, rtol=1e-4, atol=1e-5)
            assert same == (place < swapped)
    with pytest.raises(ValueError, match="different networks"):
        layer_by_layer(start, start.replace(hidden=(16, 16)))


def test_lsuv_gives_every_layer_unit_std():
    recipe = DEEP.replace(activation="silu", init="lsuv")
    assert stds(signals(recipe), "before") == pytest.approx([1.0] * 8, abs=0.02)


def test_sums_spread_like_the_root_of_their_terms():
    """Four standard errors: a std from n normal-ish sums has one of about 1/√(2n)."""
    fan_ins = [1, 4, 64, 1024]
    found = sum_spread(fan_ins, 0.3, samples=4000, seed=1)
    # A single product is no normal number: its fourth moment is 9, so its error is larger.
    np.testing.assert_allclose(found, 0.3 * np.sqrt(fan_ins), rtol=4 / np.sqrt(4000))
    np.testing.assert_array_equal(found, sum_spread(fan_ins, 0.3, samples=4000, seed=1))
    assert (found != sum_spread(fan_ins, 0.3, samples=4000, seed=2)).all()
