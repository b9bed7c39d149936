"""A network's predictions, computed from a flat vector of its weights, for live figures.

All functions may be called from several threads at once; each thread keeps networks of
its own, so that a call copies the weights into one and runs it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from labkit.recipe import networks
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import Data

_KEPT = 8  # networks kept in each thread


@dataclass(frozen=True)
class ProbabilityMap:
    """Class probabilities over a square grid of the plane.

    Attributes:
        x, y: the grid's coordinates, `(n,)` each.
        probabilities: `(classes, n, n)`; the last two axes are y and x.
    """

    x: np.ndarray
    y: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A fitted function of one input: `(n,)` inputs and outputs."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for some pictures.

    Attributes:
        images: `(n, height, width)`, from 0 to 1.
        true, predicted: `(n,)` classes.
        confidence: `(n,)`, the probability of the predicted class.
    """

    images: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray


class _Networks(threading.local):
    """This thread's networks by architecture, each with the vector that holds its weights."""

    def __init__(self) -> None:
        self.kept: dict[object, tuple[nn.Sequential, np.ndarray]] = {}

    def get(self, recipe: Recipe, data: Data) -> tuple[nn.Sequential, np.ndarray]:
        activation = networks.ACTIVATIONS[recipe.activation].make
        make = networks.NETWORKS[recipe.network].make
        key = (make, activation, recipe.hidden, data.input_shape, data.outputs)
        if key not in self.kept:
            while len(self.kept) >= _KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[key] = _flattened(make(recipe.hidden, activation, data))
        return self.kept[key]


_networks = _Networks()


def _flattened(network: nn.Sequential) -> tuple[nn.Sequential, np.ndarray]:
    network.eval().requires_grad_(False)
    parameters = list(network.parameters())
    flat = nn.utils.parameters_to_vector(parameters).detach().clone()
    nn.utils.vector_to_parameters(flat, parameters)
    return network, flat.numpy()


def _run(recipe: Recipe, data: Data, flat: np.ndarray, inputs: torch.Tensor) -> torch.Tensor:
    network, weights = _networks.get(recipe, data)
    if np.shape(flat) != weights.shape:
        raise ValueError(f"{np.shape(flat)} weights for a network of {weights.shape}")
    np.copyto(weights, flat)
    with torch.inference_mode():
        return network(inputs)


def outputs(recipe: Recipe, flat: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """The network's outputs: logits, or values for regression.

    Args:
        recipe: which network.
        flat: its weights as one vector (`history.flat()`).
        inputs: `(n, ...)`, as the task gives them.

    Returns:
        `(n, outputs)` float32.

    Raises:
        ValueError: another number of weights than the network has.
    """
    given = torch.as_tensor(np.asarray(inputs, np.float32))
    return _run(recipe, recipe.data(), flat, given).numpy()


def probability_map(recipe: Recipe, flat: np.ndarray, resolution: int = 50) -> ProbabilityMap:
    """Class probabilities over the part of the plane where the data lie.

    Raises:
        ValueError: the task's inputs are not points in a plane, or it has no classes.
    """
    data = recipe.data()
    if not (data.planar and data.classes):
        raise ValueError(f"task {recipe.task!r} has no decision boundary in a plane")
    x, y, points = _plane_points(*_extent(data), resolution)
    logits = _run(recipe, data, flat, points)
    probabilities = torch.softmax(logits, 1).T.reshape(data.classes, resolution, resolution)
    return ProbabilityMap(x, y, probabilities.numpy())


def curve(recipe: Recipe, flat: np.ndarray, resolution: int = 200) -> Curve:
    """The fitted curve of a regression of one input, over the range of the data.

    Raises:
        ValueError: the task is not a regression of one input.
    """
    data = recipe.data()
    if data.classes or data.input_shape != (1,):
        raise ValueError(f"task {recipe.task!r} is not a regression of one input")
    low, high = _extent(data)
    x = np.linspace(low, high, resolution, dtype=np.float32)
    return Curve(x, _run(recipe, data, flat, torch.from_numpy(x)[:, None]).numpy()[:, 0])


def predictions(recipe: Recipe, flat: np.ndarray, count: int = 32) -> Predictions:
    """What the network predicts for the first `count` validation pictures.

    Raises:
        ValueError: the task has no pictures or no classes.
    """
    data = recipe.data()
    if not (recipe.entry("task").traits["image"] and data.classes):
        raise ValueError(f"task {recipe.task!r} has no pictures to classify")
    images = data.val_inputs[:count]
    probabilities = torch.softmax(_run(recipe, data, flat, images), 1)
    confidence, predicted = probabilities.max(1)
    return Predictions(
        images[:, 0].numpy(),
        data.val_targets[:count].numpy(),
        predicted.numpy(),
        confidence.numpy(),
    )


@lru_cache(maxsize=16)
def _extent(data: Data) -> tuple[float, float]:
    """The range that all coordinates lie in, and a tenth more."""
    both = torch.cat([data.train_inputs, data.val_inputs])
    low, high = both.min().item(), both.max().item()
    room = 0.1 * (high - low) or 1.0
    return low - room, high + room


@lru_cache(maxsize=8)
def _plane_points(low: float, high: float, n: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    along = np.linspace(low, high, n, dtype=np.float32)
    x, y = np.meshgrid(along, along)
    return along, along, torch.from_numpy(np.stack([x.ravel(), y.ravel()], axis=1))
