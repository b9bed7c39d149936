"""What flows through a network: activations forward, gradients backward, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.initialize import weight_layers
from labkit.recipe import Recipe
from labkit.threads import one_thread
from labkit.training import initial_network


@dataclass(frozen=True)
class Signal:
    """What one weight layer puts out for some samples, and what comes back to it.

    Attributes:
        layer: its name (`layer1`, `conv2`, `output`).
        before: its output before the activation, `(samples, units, ...)`.
        after: the same behind the activation; of the output layer, `before` itself.
        gradient: of each sample's own loss with respect to `before`, same shape.
        weight_gradient: of the mean loss with respect to the layer's weights, their shape.
    """

    layer: str
    before: np.ndarray
    after: np.ndarray
    gradient: np.ndarray
    weight_gradient: np.ndarray


def signals(
    recipe: Recipe, weights: np.ndarray | None = None, *, samples: int = 256
) -> list[Signal]:
    """Send training samples through a recipe's network and their loss back, on the CPU.

    Args:
        recipe: which network and data.
        weights: all weights as one vector (`history.flat(step)`); by default the recipe's
            initial ones.
        samples: how many training samples; the first ones are taken.

    Returns:
        One `Signal` a weight layer, from input to output.

    Raises:
        ValueError: another number of weights than the network has.
    """
    with one_thread():
        network = initial_network(recipe)
        if weights is not None:
            parameters = list(network.parameters())
            total = sum(parameter.numel() for parameter in parameters)
            if np.shape(weights) != (total,):
                raise ValueError(f"{np.shape(weights)} weights for a network of {(total,)}")
            nn.utils.vector_to_parameters(torch.tensor(weights, dtype=torch.float32), parameters)
        data = recipe.data()
        inputs, targets = data.train_inputs[:samples], data.train_targets[:samples]
        layers = dict(weight_layers(network))
        before: dict[str, Tensor] = {}
        after: dict[str, Tensor] = {}
        current, last = inputs, ""
        for name, module in network.named_children():
            current = module(current)
            if name in layers:
                before[name], after[name], last = current, current, name
                current.retain_grad()
            elif name.startswith("act"):
                after[last] = current
        loss = functional.cross_entropy if data.classes else functional.mse_loss
        loss(current, targets).backward()
        return [
            Signal(
                name,
                before[name].detach().numpy(),
                after[name].detach().numpy(),
                len(inputs) * _gradient(before[name]),
                _gradient(layer.weight),
            )
            for name, layer in layers.items()
        ]


def _gradient(tensor: Any) -> np.ndarray:
    return tensor.grad.numpy()
