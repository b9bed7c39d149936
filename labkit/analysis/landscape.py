"""Loss surfaces around a solution: the loss at weights near those that training found.

Three cuts through the space of all weights: a plane of two random directions, the plane
in which a run moved most, and the straight line between two sets of weights. Everything
here is computed on the CPU, by as many threads as torch is set to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from labkit.analysis.stacked_losses import losses_in_plane, losses_of_rows
from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from labkit.training.history import History
from labkit.training.layout import Layout, layout_of
from labkit.training.trainer import initial_network

Split = Literal["train", "val"]

_SNAPSHOTS = 256  # about how many points of a path
_ROOM = 0.25  # around a path, as a share of its extent


@dataclass(frozen=True)
class Path:
    """A run, as it lies in a plane.

    Attributes:
        steps: `(k,)`, the steps of the snapshots.
        alpha, beta: `(k,)`, where their projections lie.
        loss: `(k,)`, of the snapshots themselves, which may lie off the plane.
    """

    steps: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class Landscape:
    """The loss over a plane through some weights, which lie at (0, 0).

    Attributes:
        alpha, beta: the grid's coordinates, `(columns,)` and `(rows,)`.
        loss: `(rows, columns)`; not finite where numbers leave the range of 32 bits.
        split: the samples it was evaluated on.
        samples: how many of them.
        path: the run that the plane was made from, if it was.
        explained: the share of the run's variance along each direction, or None.
    """

    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    split: Split
    samples: int
    path: Path | None = None
    explained: tuple[float, float] | None = None


@dataclass(frozen=True)
class Line:
    """Losses and accuracies on the straight line from weights a to weights b.

    Attributes:
        place: `(k,)`: 0 at a, 1 at b.
        train_loss, val_loss: `(k,)`.
        train_accuracy, val_accuracy: `(k,)`; None for regression.
    """

    place: np.ndarray
    train_loss: np.ndarray
    val_loss: np.ndarray
    train_accuracy: np.ndarray | None
    val_accuracy: np.ndarray | None


def around(
    recipe: Recipe,
    weights: np.ndarray,
    *,
    seed: int,
    span: float = 1.0,
    resolution: int = 51,
    split: Split = "train",
    samples: int | None = None,
) -> Landscape:
    """The loss over a plane of two filter-normalized random directions.

    Li et al. (2018), "Visualizing the Loss Landscape of Neural Nets", section 4: a random
    direction is scaled so that the part of each filter (the weights into one unit, or one
    channel) is as long as the filter itself. Surfaces of different networks can then be
    compared. As in the paper's code, biases are left unchanged.

    Args:
        recipe: the network, and the samples.
        weights: the centre of the plane, as one vector (`history.flat(step)`).
        seed: draws the two directions.
        span: how far the grid reaches on each side; 1 is as far as the weights are long.
        resolution: points along each side; an odd number has the weights among them.
        split: evaluate on training samples (as the recipe spoils them) or validation.
        samples: how many of them, the first ones; all by default.

    Raises:
        LabError: weights that do not fit or are not finite, or a value out of its limits.
    """
    network = initial_network(recipe)
    layout = layout_of(network)
    origin = _vector(weights, layout, "weights")
    if not 0 < span < math.inf:
        raise LabError(f"span={span:g} is not allowed: give a number above 0, such as 1")
    along = np.linspace(-span, span, _checked(resolution))
    generator = torch.Generator().manual_seed(seed)
    directions = [filter_normalized(origin, layout, generator) for _ in range(2)]
    inputs, targets = _samples(recipe, split, samples)
    loss = losses_in_plane(network, (origin, *directions), along, along, inputs, targets)
    return Landscape(along, along, loss, split, len(inputs))


def trajectory(
    history: History,
    recipe: Recipe,
    resolution: int = 51,
    *,
    split: Split = "train",
    samples: int | None = None,
) -> Landscape:
    """The loss over the plane in which a run moved most, and the run's path in it.

    Li et al. (2018), section 7: the plane of the first two principal components of the
    run's snapshots, through its final weights, which lie at (0, 0). The run began at
    negative coordinates. Random directions would show next to nothing of a path: in many
    dimensions they are almost orthogonal to it.

    Args:
        history: the run.
        recipe: its recipe.
        resolution, split, samples: as in `around`.

    Raises:
        LabError: the weights never moved or became infinite, or as `around`.
    """
    network = initial_network(recipe)
    layout = layout_of(network)
    steps, snapshots = history.snapshots(most=_SNAPSHOTS)
    if not len(steps):
        raise LabError("nothing is recorded yet: train first")
    for row in (snapshots[0], snapshots[-1]):
        _vector(row, layout, "the run's weights")
    rows = torch.from_numpy(np.ascontiguousarray(snapshots))
    origin = rows[-1].clone()
    directions, explained = _principal(rows)
    places = ((rows - origin).double() @ torch.stack(directions).double().T).numpy()
    places = places.T.copy()
    for number, along in enumerate(places):
        if along[0] > 0:  # the sign of a principal direction is arbitrary
            along *= -1
            directions[number] *= -1
    alpha, beta = (_reach(along, _checked(resolution)) for along in places)
    inputs, targets = _samples(recipe, split, samples)
    loss = losses_in_plane(network, (origin, *directions), alpha, beta, inputs, targets)
    on_path, _ = losses_of_rows(network, rows, inputs, targets)
    path = Path(steps, places[0], places[1], on_path)
    return Landscape(alpha, beta, loss, split, len(inputs), path, explained)


def between(
    recipe: Recipe, a: np.ndarray, b: np.ndarray, points: int = 51, *, beyond: float = 0.25
) -> Line:
    """Losses and accuracies on the straight line from weights `a` to weights `b`.

    Goodfellow, Vinyals and Saxe (2015), "Qualitatively characterizing neural network
    optimization problems", section 3.

    Args:
        recipe: the network, and the samples.
        a, b: weights as vectors (`history.flat(step)`).
        points: how many points.
        beyond: how far the line continues beyond each end, as a share of their distance.

    Raises:
        LabError: weights that do not fit or are not finite, or a value out of its limits.
    """
    network = initial_network(recipe)
    layout = layout_of(network)
    start, end = _vector(a, layout, "a"), _vector(b, layout, "b")
    if not 0 <= beyond < math.inf:
        raise LabError(f"beyond={beyond:g} is not allowed: give a number from 0")
    place = np.linspace(-beyond, 1 + beyond, _checked(points, "points"))
    rows = start + torch.from_numpy(place).float()[:, None] * (end - start)
    found = [
        losses_of_rows(network, rows, *_samples(recipe, split, None)) for split in ("train", "val")
    ]
    (train_loss, train_accuracy), (val_loss, val_accuracy) = found
    return Line(place, train_loss, val_loss, train_accuracy, val_accuracy)


# --- directions ----------------------------------------------------------------------------


def filter_normalized(weights: Tensor, layout: Layout, generator: torch.Generator) -> Tensor:
    """A random direction whose every filter is as long as the weights' own.

    Args:
        weights: all of them as one vector, `(total,)`.
        layout: how they lie in it; a filter is one entry along a tensor's first axis.
        generator: draws it.

    Returns:
        `(total,)`; zero for biases, which are no filters, and for filters that are zero.
    """
    direction = torch.zeros_like(weights)
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        if len(shape) < 2:
            continue
        span = layout.span(name)
        own = weights[span].reshape(shape[0], -1)
        drawn = torch.randn(own.shape, generator=generator)
        lengths = own.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)
        direction[span] = (drawn * lengths).flatten()
    return direction


def _principal(rows: Tensor) -> tuple[list[Tensor], tuple[float, float]]:
    """The first two principal components of some rows, and their shares of the variance.

    By the products of rows with each other, of which there are few, whatever their length.
    """
    if not rows.isfinite().all():
        raise LabError("the run's weights became infinite: it has no plane to draw")
    exact = rows.double()
    centred = exact - exact.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    total = float(values.sum())
    if not total > 1e-12 * float(exact.square().sum()):
        raise LabError("the run's weights never moved: there is no path to draw")
    first = _unit(centred.T @ vectors[:, -1])
    second = centred.T @ vectors[:, -2] if len(rows) > 1 else torch.zeros_like(first)
    shares = [max(0.0, float(values[-k])) / total for k in (1, 2)]
    if shares[1] < 1e-12:  # it moved along a line: any direction across will do
        second = torch.zeros_like(first)
        second[first.abs().argmin()] = 1.0
    second = second - first * (first @ second)
    return [first.float(), _unit(second).float()], (shares[0], shares[1])


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _reach(along: np.ndarray, resolution: int) -> np.ndarray:
    """Coordinates around a path, with room on both sides."""
    low, high = float(along.min()), float(along.max())
    room = _ROOM * (high - low) or 1.0
    return np.linspace(low - room, high + room, resolution)


# --- checks --------------------------------------------------------------------------------


def _vector(weights: np.ndarray, layout: Layout, what: str) -> Tensor:
    given = np.asarray(weights, np.float32)
    if given.shape != (layout.total,):
        raise LabError(
            f"{what}: shape {given.shape}, but the recipe's network has {layout.total} weights; "
            "give one vector, such as history.flat()"
        )
    if not np.isfinite(given).all():
        raise LabError(f"{what}: not all are finite, so there is no loss to show")
    return torch.tensor(given)


def _checked(count: int, what: str = "resolution") -> int:
    if not 2 <= count <= 501:
        raise LabError(f"{what}={count} is not allowed: give a whole number from 2 to 501")
    return count


def _samples(recipe: Recipe, split: Split, most: int | None) -> tuple[Tensor, Tensor]:
    if split not in ("train", "val"):
        raise LabError(f"split={split!r} is not known: choose from train, val")
    if most is not None and most < 1:
        raise LabError(f"samples={most} is not allowed: give a whole number from 1")
    data = recipe.data()
    inputs, targets = getattr(data, f"{split}_inputs"), getattr(data, f"{split}_targets")
    return inputs[:most], targets[:most]
