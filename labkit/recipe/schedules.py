"""Learning rate schedules by name, over `torch.optim.lr_scheduler`.

A SCHEDULES entry is `make(optimizer, steps, *, its own arguments)` and returns a
`torch.optim.lr_scheduler` for an optimizer whose lr is 1, so that what it computes is
the factor on the recipe's learning rate: moving the slider mid-run keeps the shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import optim
from torch.optim import lr_scheduler

from labkit.core.parameters import knob
from labkit.core.registry import Registry

SCHEDULES = Registry("schedule")

Share = Annotated[float, knob(0.01, 0.99, step=0.01, help="share of all steps")]
Low = Annotated[float, knob(0.0, 1.0, step=0.01, help="lowest factor")]


@SCHEDULES.register("constant", formula="1", source="-")
def constant(optimizer: optim.Optimizer, steps: int) -> None:
    """The learning rate as you set it."""


@SCHEDULES.register("linear_warmup", formula="min(1, t/warm-up)", source="Goyal et al. 2017")
def linear_warmup(
    optimizer: optim.Optimizer, steps: int, *, warmup: Share = 0.1
) -> lr_scheduler.LRScheduler:
    """Starts small and grows to full size."""
    span = max(1, round(warmup * steps))
    return lr_scheduler.LinearLR(optimizer, 1 / (span + 1), total_iters=span)


@SCHEDULES.register("step", formula="γ^⌊t/period⌋", source="torch.optim.lr_scheduler.StepLR")
def step(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    drops: Annotated[int, knob(1, 10, help="number of drops")] = 3,
    gamma: Annotated[float, knob(0.01, 0.99, step=0.01, help="factor at each drop")] = 0.3,
) -> lr_scheduler.LRScheduler:
    """Drops at even intervals."""
    return lr_scheduler.StepLR(optimizer, max(1, steps // (drops + 1)), gamma)


@SCHEDULES.register("exponential", formula="final^(t/T)", source="ExponentialLR")
def exponential(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    final: Annotated[float, knob(1e-4, 1.0, scale="log", help="factor at the end")] = 0.01,
) -> lr_scheduler.LRScheduler:
    """Shrinks by the same share at every step."""
    return lr_scheduler.ExponentialLR(optimizer, final ** (1 / max(1, steps)))


@SCHEDULES.register("cosine", formula="(1 + cos πt/T)/2", source="Loshchilov & Hutter 2017")
def cosine(optimizer: optim.Optimizer, steps: int, *, final: Low = 0.0) -> lr_scheduler.LRScheduler:
    """Half a cosine wave, from full size to the end."""
    return lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps), final)


@SCHEDULES.register("warmup_cosine", formula="warm-up, then cosine", source="Goyal; Loshchilov")
def warmup_cosine(
    optimizer: optim.Optimizer, steps: int, *, warmup: Share = 0.1, final: Low = 0.0
) -> lr_scheduler.LRScheduler:
    """Usual for large models: a linear rise, then half a cosine wave down."""
    span = max(1, round(warmup * steps))
    up = lr_scheduler.LinearLR(optimizer, 1 / (span + 1), total_iters=span)
    down = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - span), final)
    return lr_scheduler.SequentialLR(optimizer, [up, down], [span])


@SCHEDULES.register("one_cycle", formula="up to 1, down to ~0", source="Smith & Topin 2018")
def one_cycle(
    optimizer: optim.Optimizer, steps: int, *, warmup: Share = 0.3
) -> lr_scheduler.LRScheduler:
    """One long rise and one longer fall (momentum is left alone)."""
    rise = max(warmup, 2 / (steps + 1))  # at least one step: torch divides by its length
    return lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps + 1, pct_start=rise, cycle_momentum=False
    )


@SCHEDULES.register("cyclic", formula="triangles between low and 1", source="Smith 2017")
def cyclic(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    cycles: Annotated[int, knob(1, 20, help="number of triangles")] = 4,
    low: Low = 0.1,
) -> lr_scheduler.LRScheduler:
    """Up and down again, several times."""
    half = max(1, steps // (2 * cycles))
    return lr_scheduler.CyclicLR(optimizer, low, 1.0, step_size_up=half, cycle_momentum=False)


@SCHEDULES.register("polynomial", formula="(1 - t/T)^power", source="PolynomialLR")
def polynomial(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    power: Annotated[float, knob(0.1, 5.0, step=0.1, help="1 is a straight line")] = 1.0,
) -> lr_scheduler.LRScheduler:
    """A straight or curved line down to zero."""
    return lr_scheduler.PolynomialLR(optimizer, max(1, steps), power)


@SCHEDULES.register("plateau", formula="γ when the loss stalls", source="ReduceLROnPlateau")
def plateau(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    patience: Annotated[int, knob(1, 1000, help="steps without progress")] = 50,
    gamma: Annotated[float, knob(0.01, 0.99, step=0.01, help="factor at each drop")] = 0.5,
) -> lr_scheduler.LRScheduler:
    """Waits for the training loss to stop improving, then drops."""
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=gamma, patience=patience)


class Schedule:
    """The factor on the learning rate, step after step.

    Torch's own scheduler runs on an optimizer without weights whose lr is 1.

    Args:
        name: a name in `SCHEDULES`.
        steps: the length of the whole run.
        arguments: the schedule's own.

    Attributes:
        watches: whether it follows the loss rather than the steps.

    Raises:
        RecipeError: an unknown name.
    """

    def __init__(self, name: str, steps: int, arguments: Mapping[str, Any] | None = None) -> None:
        entry = SCHEDULES[name]
        self._unit = optim.SGD([torch.zeros(1)], lr=1.0)
        self._scheduler = entry.make(self._unit, steps, **(arguments or {}))
        self.watches = isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau)
        self._unit.step()  # torch warns where a scheduler moves before its optimizer

    @property
    def factor(self) -> float:
        """What the next step's learning rate is multiplied by."""
        return float(self._unit.param_groups[0]["lr"])

    def advance(self, loss: float) -> None:
        """Go one step on; `loss` is what the last step saw (plateau waits for it)."""
        if self.watches:
            self._scheduler.step(loss)
        elif self._scheduler is not None:
            self._scheduler.step()


def factors(name: str, steps: int, arguments: Mapping[str, Any] | None = None) -> Iterator[float]:
    """The factors of a whole run, for plotting a schedule without training anything."""
    schedule = Schedule(name, steps, arguments)
    for _ in range(steps):
        yield schedule.factor
        schedule.advance(0.0)
