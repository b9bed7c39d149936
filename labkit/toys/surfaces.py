"""Toy loss surfaces over two weights, with known minima.

A SURFACES entry is `value(x, y, *, its own arguments)`: the loss, elementwise over two
tensors of one shape. Its traits are `minima` and `saddles` (positions; every minimum has
the loss 0), a good `start` (or a function that gives it for some arguments), and `limits`
of the view, `((left, right), (low, high))`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from labkit.core.parameters import knob
from labkit.core.registry import Entry, Registry

SURFACES = Registry("surface")

Point = tuple[float, float]
FAR = 1000.0  # times the highest loss in view: a walk that gets there has diverged


def _up_the_wall(angle: float, **_: Any) -> Point:
    """The ravine's start: always the same place in it, however it is turned."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return -4.5 * cos - 1.2 * sin, 1.2 * cos - 4.5 * sin


@SURFACES.register(
    "ravine",
    formula="(u² + κv²)/2",
    source="the classic example for steepest descent, as in Polyak 1964",
    minima=((0.0, 0.0),),
    saddles=(),
    start=_up_the_wall,
    limits=((-5.5, 2.5), (-2.6, 2.4)),
)
def ravine(
    x: Tensor,
    y: Tensor,
    *,
    condition: Annotated[
        float,
        knob(1.0, 200.0, step=1, help="how many times steeper across than along", live=True),
    ] = 100.0,
    angle: Annotated[
        float, knob(0.0, 45.0, step=5, help="degrees by which it is turned", live=True)
    ] = 0.0,
) -> Tensor:
    """A long valley: gentle along its floor, steep across.

    u runs along the floor and v across it; κ is the condition number. Turned by 0 degrees
    u is x and v is y.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    u, v = cos * x + sin * y, cos * y - sin * x
    return (u**2 + condition * v**2) / 2


@SURFACES.register(
    "saddle",
    formula="x²/2 + (y² - 1)²/4",
    source="the double well, with its pass at the origin",
    minima=((0.0, 1.0), (0.0, -1.0)),
    saddles=((0.0, 0.0),),
    start=(1.4, 0.001),
    limits=((-1.8, 1.8), (-1.8, 1.8)),
)
def saddle(x: Tensor, y: Tensor) -> Tensor:
    """A mountain pass between two valleys: its top is flat, and no minimum."""
    return x**2 / 2 + (y**2 - 1) ** 2 / 4


@SURFACES.register(
    "rosenbrock",
    formula="(1 - x)² + b(y - x²)²",
    source="Rosenbrock 1960",
    minima=((1.0, 1.0),),
    saddles=(),
    start=(-1.2, 1.0),
    limits=((-2.0, 2.0), (-1.0, 3.0)),
)
def rosenbrock(
    x: Tensor,
    y: Tensor,
    *,
    b: Annotated[
        float, knob(1.0, 100.0, step=1, help="how steep the valley's walls are", live=True)
    ] = 100.0,
) -> Tensor:
    """A curved valley: easy to find, hard to follow."""
    return (1 - x) ** 2 + b * (y - x**2) ** 2


@SURFACES.register(
    "beale",
    formula="(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²",
    source="Beale 1958",
    minima=((3.0, 0.5),),
    saddles=((0.0, 1.0),),
    start=(1.0, 1.5),
    limits=((-4.5, 4.5), (-4.5, 4.5)),
)
def beale(x: Tensor, y: Tensor) -> Tensor:
    """Flat in the middle, with walls in the corners."""
    return sum(  # type: ignore[return-value]
        (c - x + x * y**k) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))
    )


# Three of the minima have no short form: these are the roots of its gradient.
@SURFACES.register(
    "himmelblau",
    formula="(x² + y - 11)² + (x + y² - 7)²",
    source="Himmelblau 1972",
    minima=(
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    ),
    saddles=(
        (0.08667750456, 2.88425470175),
        (3.38515418366, 0.07385187985),
        (-3.07302575151, -0.08135304429),
        (-0.12796134673, -1.95371498206),
    ),
    start=(-0.5, -1.0),
    limits=((-5.0, 5.0), (-5.0, 5.0)),
)
def himmelblau(x: Tensor, y: Tensor) -> Tensor:
    """Four minima, equally deep: where you start decides where you end."""
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@SURFACES.register(
    "plateau",
    formula="1 - exp(-(x² + y²)/(2s²))",
    source="a Gaussian bowl",
    minima=((0.0, 0.0),),
    saddles=(),
    start=(-3.0, 2.0),
    limits=((-4.5, 4.5), (-3.5, 3.5)),
)
def plateau(
    x: Tensor,
    y: Tensor,
    *,
    width: Annotated[
        float, knob(0.5, 2.0, step=0.1, help="s: how wide the bowl is", live=True)
    ] = 1.0,
) -> Tensor:
    """A bowl in a plain: far from it there is next to no slope."""
    return 1 - torch.exp(-(x**2 + y**2) / (2 * width**2))


@dataclass(frozen=True)
class Surface:
    """A surface by name, with its own arguments.

    Args:
        name: a name in `SURFACES`.
        arguments: what differs from the entry's defaults, such as `{"condition": 50}`.

    Raises:
        RecipeError: an unknown name or argument, or a value outside its limits.
    """

    name: str = "ravine"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked = self.entry.check(self.arguments, "arguments")
        object.__setattr__(self, "arguments", checked)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.arguments.items()))))

    @property
    def entry(self) -> Entry:
        """Its registry entry: formula, source, description."""
        return SURFACES[self.name]

    @property
    def minima(self) -> tuple[Point, ...]:
        """Where the loss is lowest: 0 at each."""
        return self.entry.traits["minima"]

    @property
    def saddles(self) -> tuple[Point, ...]:
        """Where it is flat, and neither a minimum nor a maximum."""
        return self.entry.traits["saddles"]

    @property
    def start(self) -> Point:
        """A starting point that shows what is typical of the surface."""
        start = self.entry.traits["start"]
        return (
            start(**self.entry.arguments(**self.arguments).model_dump())
            if callable(start)
            else start
        )

    @property
    def limits(self) -> tuple[Point, Point]:
        """The view: from left to right, from low to high."""
        return self.entry.traits["limits"]

    def value(self, points: Tensor) -> Tensor:
        """The loss at `points`, `(…, 2)`; autograd gives the gradient."""
        return self.entry.make(points[..., 0], points[..., 1], **self.arguments)

    def loss(self, point: Point) -> float:
        """The loss at one point."""
        return float(self.value(torch.tensor(point, dtype=torch.float64)))

    def gradient(self, point: Point) -> Point:
        """How the loss changes per unit of each weight, by autograd."""
        at = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(self.value(at), at)
        return float(slope[0]), float(slope[1])

    def grid(self, resolution: int = 101) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions along both weights, `(resolution,)` each, and the loss at every pair.

        Losses are `(resolution, resolution)`, rows by the second weight.
        """
        x, y = (torch.linspace(*span, resolution, dtype=torch.float64) for span in self.limits)
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        with torch.no_grad():
            return x.numpy(), y.numpy(), self.value(points).numpy()

    @cached_property
    def far(self) -> float:
        """A loss beyond which a walk counts as diverged."""
        return FAR * float(self.grid(31)[2].max())


def surface(name: str | Surface, **arguments: Any) -> Surface:
    """A surface by name: `surface("ravine", condition=50)`.

    Raises:
        RecipeError: an unknown name or argument, or a value outside its limits.
    """
    return name if isinstance(name, Surface) and not arguments else Surface(str(name), arguments)
