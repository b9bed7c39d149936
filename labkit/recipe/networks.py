"""Networks of a recipe: an MLP of any shape and a small CNN, as named `nn.Sequential`s.

Tensor names read like the network: `layer1.weight`, `conv2.bias`, `output.weight`.
A NETWORKS entry is `make(hidden, activation, data) -> nn.Sequential`; an ACTIVATIONS
entry is `make() -> nn.Module`, with its `gain` as a trait.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.init import calculate_gain

from labkit.core.registry import Registry
from labkit.recipe.tasks import Data

ACTIVATIONS = Registry("activation")
NETWORKS = Registry("network")

# The gain keeps the signal's size: 1/sqrt(E[f(z)^2]) for z ~ N(0, 1), which is how
# He et al. (2015, section 2.2) derive sqrt(2) for ReLU. Where torch has a value of its
# own (tanh, ReLU), that one is used.
ACTIVATIONS.register("relu", formula="max(0, z)", gain=calculate_gain("relu"))(nn.ReLU)
ACTIVATIONS.register("tanh", formula="tanh(z)", gain=calculate_gain("tanh"))(nn.Tanh)
ACTIVATIONS.register("sigmoid", formula="1/(1 + e^-z)", gain=calculate_gain("sigmoid"))(nn.Sigmoid)
ACTIVATIONS.register("leaky_relu", formula="max(0.01z, z)", gain=calculate_gain("leaky_relu"))(
    nn.LeakyReLU
)
ACTIVATIONS.register("elu", formula="z if z > 0 else e^z - 1", gain=1.2451)(nn.ELU)
ACTIVATIONS.register("gelu", formula="z Φ(z)", gain=1.5335)(nn.GELU)
ACTIVATIONS.register("silu", formula="z/(1 + e^-z)", gain=1.6768)(nn.SiLU)
ACTIVATIONS.register("identity", formula="z", gain=1.0)(nn.Identity)


@NETWORKS.register("mlp")
def mlp(hidden: tuple[int, ...], activation: Callable[[], nn.Module], data: Data) -> nn.Sequential:
    """A chain of fully connected layers; `hidden` gives their widths."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if len(data.input_shape) > 1:
        layers["flatten"] = nn.Flatten()
    width = math.prod(data.input_shape)
    for i, units in enumerate(hidden, start=1):
        layers[f"layer{i}"] = nn.Linear(width, units)
        layers[f"act{i}"] = activation()
        width = units
    layers["output"] = nn.Linear(width, data.outputs)
    return nn.Sequential(layers)


@NETWORKS.register("cnn", images_only=True)
def cnn(hidden: tuple[int, ...], activation: Callable[[], nn.Module], data: Data) -> nn.Sequential:
    """3x3 convolutions, each halving the image; `hidden` gives their channels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, size, _ = data.input_shape
    for i, units in enumerate(hidden, start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels, units, kernel_size=3, padding=1)
        layers[f"act{i}"] = activation()
        channels = units
        if size >= 4:
            layers[f"pool{i}"] = nn.MaxPool2d(2)
            size //= 2
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels * size * size, data.outputs)
    return nn.Sequential(layers)


def build(
    network: str, activation: str, hidden: tuple[int, ...], data: Data, *, seed: int = 0
) -> nn.Sequential:
    """A network for some data, with the weights that torch gives new layers.

    `labkit.recipe.initialize` then sets them by a scheme; layers that no scheme knows
    keep what they have, so the seed is part of them.

    Args:
        network: a name in `NETWORKS`.
        activation: a name in `ACTIVATIONS`.
        hidden: the widths of the hidden layers (channels in a cnn).
        data: what it is for: the shape of its inputs and the number of its outputs.
        seed: of the new layers' weights; torch's global generator is left as it was.

    Raises:
        RecipeError: an unknown name.
    """
    make, act = NETWORKS[network].make, ACTIVATIONS[activation].make
    # Layers fill themselves from torch's global generator: seed it, then put it back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make(hidden, act, data)
