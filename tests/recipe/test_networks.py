from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import nn
from torch.nn import functional

from labkit.core.errors import RecipeError
from labkit.recipe.networks import ACTIVATIONS, NETWORKS, build
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import TASKS

FUNCTIONS = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "identity": lambda z: z,
}


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in network.named_parameters()}


def test_mlp_names_and_shapes():
    assert shapes(Recipe(task="spiral", hidden=(5, 3)).build_network()) == {
        "layer1.weight": (5, 2),
        "layer1.bias": (5,),
        "layer2.weight": (3, 5),
        "layer2.bias": (3,),
        "output.weight": (2, 3),
        "output.bias": (2,),
    }


def test_without_hidden_layers_it_is_one_linear_map():
    assert shapes(Recipe(task="regression", hidden=()).build_network()) == {
        "output.weight": (1, 1),
        "output.bias": (1,),
    }


def test_cnn_names_and_shapes():
    assert shapes(Recipe(task="digits", network="cnn", hidden=(4, 6)).build_network()) == {
        "conv1.weight": (4, 1, 3, 3),
        "conv1.bias": (4,),
        "conv2.weight": (6, 4, 3, 3),
        "conv2.bias": (6,),
        "output.weight": (10, 6 * 2 * 2),
        "output.bias": (10,),
    }


@pytest.mark.parametrize(
    ("hidden", "sizes"),
    [((), []), ((3,), [4]), ((3, 3), [4, 2]), ((3, 3, 3), [4, 2, 2]), ((3,) * 5, [4, 2, 2, 2, 2])],
)
def test_a_cnn_halves_the_picture_until_two_by_two(hidden, sizes):
    network = Recipe(task="digits", network="cnn", hidden=hidden).build_network()
    signal, seen = torch.zeros(1, 1, 8, 8), []
    for name, module in network.named_children():
        if name.startswith("conv") or name == "flatten":
            seen.append(signal.shape[-1])  # of what the layer is given
        signal = module(signal)
    assert seen == [8, *sizes]
    assert network.output.in_features == (hidden[-1] * sizes[-1] ** 2 if hidden else 64)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("hidden", [(), (7,), (16, 8, 4)])
def test_mlp_on_every_task(task, hidden):
    recipe = Recipe(task=task, hidden=hidden, samples=20)
    network, data = recipe.build_network(), recipe.data()
    widths = [math.prod(data.input_shape), *hidden, data.outputs]
    count = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    assert sum(p.numel() for p in network.parameters()) == count
    assert network(data.train_inputs).shape == (14, data.outputs)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_network_with_every_activation(network, activation):
    recipe = Recipe(
        task="digits", network=network, activation=activation, hidden=(4, 3), samples=20
    )
    made, data = recipe.build_network(), recipe.data()
    assert made(data.train_inputs).shape == (14, 10)
    kinds = [type(module) for module in made]
    assert kinds.count(ACTIVATIONS[activation].make) == 2, "one after each hidden layer"
    assert kinds[-1] is nn.Linear, "the output is not bent"


def test_cnn_parameters_by_formula():
    network = Recipe(task="digits", network="cnn", hidden=(8, 16)).build_network()
    count = (9 * 1 + 1) * 8 + (9 * 8 + 1) * 16 + (16 * 2 * 2 + 1) * 10
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_are_torchs_own(name):
    z = torch.linspace(-4, 4, 101)
    assert torch.equal(ACTIVATIONS[name].make()(z), FUNCTIONS[name](z))


@pytest.mark.parametrize("name", ["gelu", "silu", "elu"])
def test_gain_is_one_over_the_root_mean_square_of_a_normal_input(name):
    def integrand(z: float) -> float:
        value = float(FUNCTIONS[name](torch.tensor(z, dtype=torch.float64)))
        return value**2 * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

    power, _ = integrate.quad(integrand, -10, 10, points=[0.0], limit=200)
    assert ACTIVATIONS[name].traits["gain"] == pytest.approx(1 / math.sqrt(power), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("tanh", 5 / 3),
        ("sigmoid", 1.0),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        ("identity", 1.0),
    ],
)
def test_gain_is_torchs_recommendation(name, gain):
    assert ACTIVATIONS[name].traits["gain"] == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_a_gain(name):
    assert np.isfinite(ACTIVATIONS[name].traits["gain"])
    assert ACTIVATIONS[name].traits["gain"] > 0


def test_a_network_is_built_from_names_and_data_alone():
    data = Recipe(task="blobs", samples=20).data()
    network = build("mlp", "relu", (4,), data, seed=3)
    assert [type(module) for module in network] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (network.layer1.in_features, network.output.out_features) == (2, 3)
    with torch.random.fork_rng():
        torch.manual_seed(3)  # what torch itself gives new layers made in this order
        layers = nn.Linear(2, 4), nn.Linear(4, 3)
    assert torch.equal(network.layer1.weight, layers[0].weight)
    assert torch.equal(network.output.weight, layers[1].weight)


def test_an_unknown_activation_is_named_with_the_nearest_one():
    with pytest.raises(RecipeError, match=r"did you mean 'tanh'\?"):
        build("mlp", "tahn", (4,), Recipe(samples=20).data())


@pytest.mark.parametrize("network", NETWORKS)
def test_building_leaves_the_global_generator_alone(network, global_rng_untouched):
    Recipe(task="digits", network=network, samples=20).build_network()


def test_a_homemade_network_of_other_layers_starts_from_the_seed(enter):
    """Schemes fill Linear and Conv2d only; the rest must be reproducible too."""

    def embedding(hidden, activation, data):
        return nn.Sequential(nn.Bilinear(2, 2, 3))

    enter(NETWORKS, "bilinear")(embedding)
    recipes = (Recipe(network="bilinear", seed=seed) for seed in (0, 0, 1))
    one, same, other = (
        torch.cat([p.flatten() for p in recipe.build_network().parameters()]) for recipe in recipes
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
