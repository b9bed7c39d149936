"""Small data sets with known behaviour, made here or shipped with scikit-learn.

An entry is `make(samples, noise, rng) -> (inputs, targets)`: float inputs of shape
`(samples, ...)`, and integer classes or float values as targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

from labkit.core.errors import RecipeError
from labkit.core.registry import Entry, Registry

TASKS = Registry("task")

Kind = Literal["classification", "regression"]
Missing = Literal["nothing", "class", "region"]
Arrays = tuple[np.ndarray, np.ndarray]

VALIDATION_SHARE = 0.3


def task(
    name: str,
    *,
    samples: int,
    noise: float,
    classes: int = 0,
    largest: int = 20_000,
    image: bool = False,
    noise_unit: str = "standard deviation of the coordinates",
    source: str = "",
) -> Callable[[Callable[..., Arrays]], Callable[..., Arrays]]:
    """Register a task.

    Args:
        name: how recipes call it.
        samples, noise: its own defaults.
        classes: number of classes; 0 for regression.
        largest: the most samples it can give.
        image: whether inputs are `(channels, height, width)` pictures.
        noise_unit: what one unit of noise means.
        source: where the data come from.
    """
    kind: Kind = "classification" if classes else "regression"
    return TASKS.register(
        name,
        source=source,
        samples=samples,
        noise=noise,
        classes=classes,
        largest=largest,
        image=image,
        noise_unit=noise_unit,
        kind=kind,
    )


@dataclass(frozen=True)
class Data:
    """A task's samples, split once and for all.

    Inputs are float32 of shape `(n, ...)`; targets are int64 classes of shape `(n,)` or,
    for regression, float32 of shape `(n, 1)`. `mislabelled` says of each training sample
    whether its label was replaced by a wrong one.
    """

    kind: Kind
    classes: int
    train_inputs: torch.Tensor
    train_targets: torch.Tensor
    val_inputs: torch.Tensor
    val_targets: torch.Tensor
    mislabelled: torch.Tensor

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.train_inputs.shape[1:])

    @property
    def outputs(self) -> int:
        """How many numbers a network must give per sample."""
        return self.classes or 1

    @property
    def planar(self) -> bool:
        """Whether inputs are points in a plane, so that a boundary can be drawn."""
        return self.input_shape == (2,)

    def to(self, device: torch.device | str) -> Data:
        """The same data on another device."""
        tensors = {
            name: getattr(self, name).to(device)
            for name in (
                "train_inputs",
                "train_targets",
                "val_inputs",
                "val_targets",
                "mislabelled",
            )
        }
        return Data(self.kind, self.classes, **tensors)


def load(
    name: str,
    samples: int,
    noise: float,
    seed: int = 0,
    *,
    train_share: float = 1.0,
    label_noise: float = 0.0,
    missing: Missing = "nothing",
) -> Data:
    """Make a task's data: the same arguments give the same tensors.

    The last three arguments spoil the training samples only, in this order: some are `missing`, a
    share of the rest is used, and some labels of those are wrong. Validation stays whole
    and true, so that it shows the effect. A smaller share is part of a larger
    one, and so are the wrong labels of less noise.

    Args:
        name: a name in `TASKS`.
        samples: how many samples before the split; 30 % of them validate.
        noise: in the task's own unit (`TASKS[name].traits["noise_unit"]`).
        seed: of the samples, their noise, the split and the wrong labels.
        train_share: how many of the training samples are used (at least one).
        label_noise: how many of the used labels become another class, each of the others
            equally often.
        missing: what training never sees: the first class (0), or a region of the inputs:
            points with both coordinates positive; for one input, the middle third of the
            range of all samples.

    Raises:
        RecipeError: an unknown name, or samples that cannot be spoiled in this way.
    """
    entry = TASKS[name]
    check_spoiling(entry, label_noise, missing)
    return _make(entry, samples, noise, seed, train_share, label_noise, missing)


def check_spoiling(entry: Entry, label_noise: float, missing: Missing) -> None:
    """Refuse label noise or missing samples that a task does not allow, and say what it does.

    Raises:
        RecipeError: labels or classes of a regression, or a region of pictures.
    """
    if label_noise and not entry.traits["classes"]:
        raise RecipeError(
            f"label_noise={label_noise:g} is not allowed: task={entry.name!r} has no labels "
            "to mix up. For noisy targets use noise"
        )
    if missing == "class" and not entry.traits["classes"]:
        raise RecipeError(
            f"missing='class' is not allowed: task={entry.name!r} has no classes. "
            "Use missing='region', or a task with classes"
        )
    if missing == "region" and entry.traits["image"]:
        raise RecipeError(
            f"missing='region' is not allowed: task={entry.name!r} has images, which are not "
            "points in a plane. Use missing='class', or a task of points such as moons"
        )


@lru_cache(maxsize=32)
def _make(
    entry: Entry,
    samples: int,
    noise: float,
    seed: int,
    train_share: float,
    label_noise: float,
    missing: Missing,
) -> Data:
    rng = np.random.default_rng(seed)
    inputs, targets = entry.make(samples, noise, rng)
    order = rng.permutation(len(inputs))
    inputs, targets = inputs[order].astype(np.float32), targets[order]
    x = torch.from_numpy(np.ascontiguousarray(inputs))
    if entry.traits["classes"]:
        y = torch.from_numpy(targets.astype(np.int64))
    else:
        y = torch.from_numpy(targets.astype(np.float32)).reshape(-1, 1)
    held_out = max(1, round(len(x) * VALIDATION_SHARE))
    rows = torch.arange(held_out, len(x))
    if missing != "nothing":
        rows = rows[~left_out(entry, x, y, missing)[held_out:]]
        if not len(rows):
            raise RecipeError(
                f"missing={missing!r} leaves no training sample of task={entry.name!r} with "
                f"samples={samples}: use more samples, or missing='nothing'"
            )
    rows = rows[: max(1, round(len(rows) * train_share))]
    labels, mislabelled = _mislabel(y[rows], entry.traits["classes"], label_noise, seed)
    return Data(
        entry.traits["kind"],
        entry.traits["classes"],
        x[rows],
        labels,
        x[:held_out],
        y[:held_out],
        mislabelled,
    )


def left_out(
    entry: Entry, inputs: torch.Tensor, targets: torch.Tensor, missing: Missing
) -> torch.Tensor:
    """Which of all a task's samples are of the kind that training never sees, `(n,)`.

    Raises:
        RecipeError: a region of inputs that are neither one number nor two.
    """
    if missing == "nothing":
        return torch.zeros(len(inputs), dtype=torch.bool)
    if missing == "class":
        return targets == 0
    if inputs.shape[1:] == (2,):
        return (inputs > 0).all(dim=1)
    if inputs.shape[1:] == (1,):
        low, high = inputs.min(), inputs.max()
        third = (high - low) / 3
        return ((inputs > low + third) & (inputs < high - third)).flatten()
    raise RecipeError(
        f"missing='region' is not allowed: task={entry.name!r} has inputs of shape "
        f"{tuple(inputs.shape[1:])}. Use a task with one or two inputs, such as moons"
    )


def _mislabel(
    labels: torch.Tensor, classes: int, share: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels, a share of them replaced, and which ones those are."""
    mislabelled = torch.zeros(len(labels), dtype=torch.bool)
    if not share:
        return labels, mislabelled
    rng = np.random.default_rng([seed, 1])  # a stream of its own: the samples stay the same
    order, shift = rng.permutation(len(labels)), rng.integers(1, classes, len(labels))
    mislabelled[torch.from_numpy(order[: round(share * len(labels))])] = True
    others = (labels + torch.from_numpy(shift)) % classes
    return torch.where(mislabelled, others, labels), mislabelled


def _halves(samples: int) -> np.ndarray:
    """Class 0 for the first half, class 1 for the rest."""
    return (np.arange(samples) >= samples // 2).astype(np.int64)


@task("spiral", samples=500, noise=0.05, classes=2, source="TensorFlow Playground, dataset.ts")
def spiral(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """Two interleaved spiral arms: hard for a straight line, easy to see."""
    label = _halves(samples)
    along = rng.uniform(0.05, 1.0, samples)
    angle = along * 1.75 * 2 * np.pi + label * np.pi
    points = np.stack([along * np.sin(angle), along * np.cos(angle)], axis=1)
    return points + rng.normal(0, noise, points.shape), label


@task("moons", samples=500, noise=0.1, classes=2, source="scikit-learn, make_moons")
def moons(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """Two interleaved half circles."""
    from sklearn.datasets import make_moons

    scale, seed = 1.25, int(rng.integers(2**31))
    points, label = make_moons(samples, noise=noise * scale, random_state=seed)
    return (points - [0.5, 0.25]) / scale, label


@task("circles", samples=500, noise=0.05, classes=2, source="scikit-learn, make_circles")
def circles(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """A circle inside another circle."""
    from sklearn.datasets import make_circles

    seed = int(rng.integers(2**31))
    return make_circles(samples, noise=noise, factor=0.5, random_state=seed)


@task("xor", samples=500, noise=0.05, classes=2, source="Minsky & Papert, Perceptrons, 1969")
def xor(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """Opposite quadrants share a class: no single line separates them."""
    points = rng.uniform(-1, 1, (samples, 2))
    label = (points[:, 0] * points[:, 1] > 0).astype(np.int64)
    return points + rng.normal(0, noise, points.shape), label


@task("blobs", samples=500, noise=0.2, classes=3, source="scikit-learn, make_blobs")
def blobs(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """Three round clouds: the easiest task, for first steps."""
    from sklearn.datasets import make_blobs

    angles = np.pi / 2 + np.arange(3) * 2 * np.pi / 3
    centers = 0.7 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    seed = int(rng.integers(2**31))
    points, label = make_blobs(samples, centers=centers, cluster_std=noise, random_state=seed)
    return points, label


@task("regression", samples=300, noise=0.1, noise_unit="standard deviation of the targets")
def regression(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """A noisy curve to fit: y = sin(3x) + x/2 on [-1.5, 1.5]."""
    x = rng.uniform(-1.5, 1.5, (samples, 1))
    y = np.sin(3 * x[:, 0]) + x[:, 0] / 2
    return x, y + rng.normal(0, noise, samples)


@task(
    "digits",
    samples=1797,
    noise=0.0,
    classes=10,
    largest=1797,
    image=True,
    noise_unit="standard deviation of a pixel, whose range is 0 to 1",
    source="Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits",
)
def digits(samples: int, noise: float, rng: np.random.Generator) -> Arrays:
    """1,797 real scanned digits of 8 by 8 pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = rng.permutation(len(data.images))[:samples]
    pictures = data.images[chosen] / 16.0
    pictures = pictures + rng.normal(0, noise, pictures.shape)
    return pictures[:, None, :, :], data.target[chosen]
