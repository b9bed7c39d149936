"""Runs whose numbers are known, recorded without training, and what is found in them."""

from __future__ import annotations

import math

import numpy as np

from labkit.diagnosis.causes import diagnose
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step

NAMES = ("layer1.weight", "layer1.bias", "output.weight", "output.bias")
LAYOUT = Layout(NAMES, ((3, 2), (3,), (2, 3), (2,)))
START = np.random.default_rng(0).normal(0, 1, LAYOUT.total)


def record(
    losses: list[float] | np.ndarray,
    *,
    val: list[float] | np.ndarray | None = None,
    growth: float = 1e-3,
    start: np.ndarray = START,
    gradient: float = 1.0,
    lr: float = 0.1,
) -> History:
    """A run without a recipe whose every step is evaluated.

    Each step makes all weights larger by the share `growth`: that is the update ratio.
    """
    history, weights = History(LAYOUT), start.copy()
    recorder = Recorder(history)
    for step, loss in enumerate(losses):
        seen = Step(step, loss if step else math.nan, lr, loss, None, (val or losses)[step], None)
        recorder.record(seen, weights, np.full(LAYOUT.total, gradient if step else 0.0))
        weights = weights * (1 + growth)
    return history


def kinds(history: History) -> list[str]:
    return [finding.kind for finding in diagnose(history)]


def the(kind: str, history: History) -> Finding:
    (finding,) = [finding for finding in diagnose(history) if finding.kind == kind]
    return finding


FALLING = list(np.linspace(1, 0.2, 40))


def scaled(factor: float, depth: int = 5, **more: object) -> Recipe:
    """Each layer copies its two inputs times `factor`: the signal is known everywhere."""
    given = {"hidden": (2,) * depth, "activation": "identity", "init": "identity"}
    args = {"init_args": {"factor": factor}, "optimizer": "sgd", "lr": 1e-5, "steps": 2}
    return Recipe(task="moons", **(given | args | more))
