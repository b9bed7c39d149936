"""What flows through a network: activations forward, gradients backward, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.core.threads import one_thread
from labkit.recipe.initialize import weight_layers
from labkit.recipe.recipe import Recipe
from labkit.training.layout import layout_of
from labkit.training.trainer import initial_network


@dataclass(frozen=True)
class Signal:
    """The output of one weight layer for some samples, and the gradient that comes back.

    Attributes:
        layer: its name (`layer1`, `conv2`, `output`).
        before: its output before the activation, `(samples, units, ...)`.
        after: the same after the activation; of the output layer, `before` itself.
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


# --- what they show -------------------------------------------------------------------------


def spread(values: np.ndarray) -> float:
    """The standard deviation of all numbers; infinity where one of them is not finite."""
    if not np.isfinite(values).all():
        return math.inf
    return float(np.std(values, dtype=np.float64))


def stds(
    flow: Sequence[Signal], of: Literal["before", "after", "gradient"] = "after"
) -> list[float]:
    """The standard deviation of each hidden layer's numbers, from input to output.

    Args:
        flow: what `signals` gave.
        of: of its output `before` or `after` the activation, or of the `gradient`.

    Returns:
        One number a hidden layer; infinity where one of the layer's numbers is not finite.
    """
    return [spread(getattr(signal, of)) for signal in flow[:-1]]


def dead_shares(flow: Sequence[Signal]) -> list[float]:
    """The share of each hidden layer's units (or channels) that are 0 for every sample."""
    shares = []
    for signal in flow[:-1]:
        others = tuple(axis for axis in range(signal.after.ndim) if axis != 1)
        shares.append(float((signal.after == 0).all(axis=others).mean()))
    return shares


def per_layer(first: float, last: float, layers: int) -> float:
    """The mean factor of each of `layers - 1` steps; NaN where it is not defined."""
    if not (0 < first < math.inf and 0 < last < math.inf and layers > 1):
        return math.nan
    return (last / first) ** (1 / (layers - 1))


def describe(flow: Sequence[Signal]) -> list[str]:
    """Activations on their way forward and gradients on their way back, a sentence each.

    Args:
        flow: what `signals` gave; the output layer, which has no activation, is left out.
    """
    names = [signal.layer for signal in flow[:-1]]
    if not names:
        return ["There is no hidden layer."]
    return [
        _sentence("Activations", "forward", stds(flow), names),
        _sentence("Gradients", "back", stds(flow, "gradient")[::-1], names[::-1]),
    ]


STEADY = (0.9, 1.12)  # a factor a layer that leaves ten layers with a third to three times


def _sentence(what: str, way: str, sizes: Sequence[float], names: Sequence[str]) -> str:
    for name, size in zip(names, sizes, strict=True):
        if size == 0:
            return f"{what} have a std of exactly 0 in {name}: no difference gets through."
        if size == math.inf:
            return f"{what} leave the range of 32-bit numbers in {name}."
    first, last, factor = sizes[0], sizes[-1], per_layer(sizes[0], sizes[-1], len(sizes))
    if len(sizes) == 1:
        return f"{what}: std {first:.3g} in {names[0]}."
    word = "shrink" if factor < STEADY[0] else "grow" if factor > STEADY[1] else "keep their size"
    return (
        f"{what} {word} on their way {way}: std {first:.3g} in {names[0]}, {last:.3g} in "
        f"{names[-1]}, ×{factor:.3g} a layer."
    )


def layer_by_layer(start: Recipe, end: Recipe, *, samples: int = 256) -> list[list[Signal]]:
    """Swap a network's initial layers for another's, one at a time from the input on.

    Args:
        start, end: two recipes of the same network; their inits are compared.
        samples: how many training samples are sent through.

    Returns:
        What flows before any swap, after the first layer's, and so on: one list more
        than there are layers.

    Raises:
        ValueError: networks of different shapes.
    """
    with one_thread():
        mixed, goal = initial_network(start), initial_network(end)
        if layout_of(mixed) != layout_of(goal):
            raise ValueError("start and end are different networks: only their init may differ")

        def flow() -> list[Signal]:
            weights = nn.utils.parameters_to_vector(mixed.parameters()).detach().numpy()
            return signals(start, weights, samples=samples)

        found = [flow()]
        for (_, layer), (_, wanted) in zip(weight_layers(mixed), weight_layers(goal), strict=True):
            layer.load_state_dict(wanted.state_dict())
            found.append(flow())
        return found


def sum_spread(
    fan_ins: Sequence[int], std: float = 1.0, *, samples: int = 2000, seed: int = 0
) -> np.ndarray:
    """The measured std of a sum of `fan_in` products of a weight and an input, `(k,)`.

    Args:
        fan_ins: how many products to add, `k` numbers from 1.
        std: of the weights, drawn from N(0, std²); inputs are drawn from N(0, 1).
        samples: how many sums of each kind.
        seed: draws both.
    """
    rng = np.random.default_rng(seed)
    found = []
    for fan_in in fan_ins:
        products = rng.normal(0, std, (samples, fan_in)) * rng.normal(size=(samples, fan_in))
        found.append(products.sum(axis=1).std())
    return np.array(found)
