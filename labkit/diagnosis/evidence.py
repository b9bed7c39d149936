"""Evidence: the numbers of a run that a diagnosis rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from labkit.analysis.propagation import Signal, dead_shares, signals, stds
from labkit.recipe.recipe import Recipe
from labkit.training.evaluation import EVALUATION_SAMPLES
from labkit.training.history import History

# For tanh, and for the sigmoid, which is a tanh of half the height:
SATURATED = 0.98  # beyond it 1 - 0.98² = 4 % of the largest slope are left
FEW_LOSSES = 5  # a trend needs a few evaluations


@dataclass(frozen=True)
class Flow:
    """What flows through a network at one step, a number a layer, from input to output.

    Attributes:
        step: when.
        layers: the hidden layers' names.
        activations: the std of each hidden layer's activations over that of the inputs.
        output: the same for the network's output.
        gradients: how large a sample's gradient by each layer's sums is, as a root mean
            square over samples; the output layer's is the last.
        dead: the share of each hidden layer's units that are 0 for every sample; empty
            where the activation is not ReLU.
        saturated: the share of each hidden layer's activations that are saturated; empty
            where the activation has no flat ends.
    """

    step: int
    layers: list[str]
    activations: list[float]
    output: float
    gradients: list[float]
    dead: list[float]
    saturated: list[float]


class Evidence:
    """The numbers of a run that a diagnosis rests on, computed when they are first used.

    Args:
        history: of a run with or without a recipe, finished or not.

    Attributes:
        recipe: None where the history has none.
        hidden: the names of the hidden layers' weights.
        steps: how many updates were made.
        lr: the learning rate in force at the end, before its schedule.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        about = history.about.get("recipe")
        self.recipe = Recipe(**about) if about else None
        self.steps = history.last_step
        matrices = [n for n, shape in zip(*_layout(history), strict=True) if len(shape) > 1]
        self.hidden = matrices[:-1]
        self.matrices = matrices

    @cached_property
    def lr(self) -> float:
        _, rates = self.history.curve("lr")
        if self.recipe is not None and (self.recipe.schedule != "constant" or not len(rates)):
            return self.recipe.lr
        # The rate may have been changed during the run.
        return float(rates[-1]) if len(rates) else math.nan

    # --- loss ------------------------------------------------------------------------

    @cached_property
    def losses(self) -> np.ndarray:
        """The loss of the training set, evaluated now and then, the start first.

        Where a batch holds all samples, each step's loss is one. An evaluation of more
        samples than the others, which ends a run, would be no fair comparison.
        """
        steps, losses = self.history.curve("train_loss")
        recipe = self.recipe
        if recipe is not None:
            samples = len(recipe.data().train_inputs)
            if recipe.batch_size >= samples and len(self.history) > 1:
                return self.history.curve("loss")[1]
            if samples > EVALUATION_SAMPLES and len(steps) > 2 and steps[-1] == recipe.steps:
                losses = losses[:-1]
        return losses

    @property
    def judgeable(self) -> bool:
        """Whether there are enough losses to see where they are going."""
        return len(self.losses) >= FEW_LOSSES

    @cached_property
    def guess(self) -> float:
        """The loss of the best constant answer; without a recipe, the loss at the start."""
        if self.recipe is None:
            return float(self.losses[0])
        data = self.recipe.data()
        targets = data.train_targets.numpy()
        if not data.classes:
            return float(targets.var())
        shares = np.bincount(targets, minlength=data.classes) / len(targets)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    # --- tensors ---------------------------------------------------------------------

    def statistic(self, name: str, tensor: str) -> np.ndarray:
        """Finite values of one statistic after the start."""
        _, values = self.history.statistic(name, tensor)
        values = values[1:]
        return values[np.isfinite(values)]

    @cached_property
    def update_ratio(self) -> float:
        """The usual size of an update beside its weights, of the layer that moves most."""
        medians = [
            np.median(v) for t in self.matrices if len(v := self.statistic("update_ratio", t))
        ]
        return float(max(medians, default=math.nan))

    # --- signals ---------------------------------------------------------------------

    @cached_property
    def start(self) -> Flow | None:
        """What flows through the initial network; None without a recipe."""
        return self._flow(0)

    @cached_property
    def end(self) -> Flow | None:
        """What flows through the network now; None where its weights are not finite."""
        return self._flow(None)

    def _flow(self, step: int | None) -> Flow | None:
        weights = self.history.flat(step)
        if self.recipe is None or not np.isfinite(weights).all():
            return None
        with np.errstate(all="ignore"):  # signals that overflow are a finding, not a warning
            flow = signals(self.recipe, weights)
            scale = float(self.recipe.data().train_inputs[: len(flow[0].before)].std(correction=0))
            return Flow(
                step=self.steps if step is None else step,
                layers=[signal.layer for signal in flow[:-1]],
                activations=[size / scale for size in stds(flow)],
                output=float(np.std(flow[-1].after, dtype=np.float64)) / scale,
                gradients=[_size(signal.gradient) for signal in flow],
                dead=dead_shares(flow) if self.recipe.activation == "relu" else [],
                saturated=_saturated(flow, self.recipe.activation),
            )


def _layout(history: History) -> tuple[Sequence[str], Sequence[tuple[int, ...]]]:
    return history.layout.names, history.layout.shapes


def _size(gradient: np.ndarray) -> float:
    rows = gradient.reshape(len(gradient), -1).astype(np.float64)
    return float(np.sqrt(np.vecdot(rows, rows).mean()))


def _saturated(flow: Sequence[Signal], activation: str) -> list[float]:
    as_tanh: dict[str, Any] = {"tanh": lambda a: a, "sigmoid": lambda a: 2 * a - 1}
    if activation not in as_tanh:
        return []
    return [float((np.abs(as_tanh[activation](s.after)) > SATURATED).mean()) for s in flow[:-1]]


def tail(losses: np.ndarray) -> float:
    """Where a loss is now: the median of its last three values."""
    return float(np.median(losses[-3:]))
