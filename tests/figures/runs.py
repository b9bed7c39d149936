"""Histories made by hand, for tests of figures: no training, so that oracles are exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step

MLP = Layout(
    ("layer1.weight", "layer1.bias", "output.weight", "output.bias"),
    ((5, 2), (5,), (3, 5), (3,)),
)
BIG = Layout(("layer1.weight", "layer1.bias", "output.weight"), ((40, 30), (40,), (10, 40)))
CNN = Layout(("conv1.weight", "conv2.weight"), ((6, 1, 3, 3), (4, 6, 3, 3)))
ONE = Layout(("layer1.weight",), ((1, 1),))


def history(
    layout: Layout = MLP,
    last: int = 300,
    *,
    planned: int | None = None,
    classified: bool = True,
    weights: Any = None,
    losses: Any = None,
) -> History:
    """A run of `last` steps: weights on a random walk, or `weights(step)`."""
    rng = np.random.default_rng(0)
    facts = {"recipe": {"steps": planned}} if planned else {}
    made = History(layout, facts)
    recorder = Recorder(made)
    flat = rng.normal(size=layout.total)
    for step in range(last + 1):
        if step:
            flat = flat + 0.02 * rng.normal(size=layout.total)
        row = flat if weights is None else weights(step)
        gradient = np.zeros_like(flat) if step == 0 else rng.normal(size=layout.total)
        loss = math.exp(-step / 100) if losses is None else losses(step)
        accuracy = 1 - 1 / (step + 2) if classified else None
        judged = (loss, accuracy, 2 * loss, accuracy) if step % 30 == 0 else ()
        recorder.record(Step(step, math.nan if step == 0 else loss, 0.1, *judged), row, gradient)
    return made


def exploding(step: int) -> np.ndarray:
    """Weights that grow past float32 and end as infinities and NaN."""
    with np.errstate(all="ignore"):
        row = np.linspace(-1, 1, MLP.total).astype(np.float32) * np.float32(10) ** (4 * step)
        return row * (np.inf if step > 8 else 1)


HISTORIES = {
    "ordinary": lambda: history(),
    "long": lambda: history(last=3000),
    "many weights": lambda: history(BIG),
    "kernels": lambda: history(CNN, 50),
    "one weight": lambda: history(ONE, 50),
    "only step 0": lambda: history(last=0, planned=100),
    "exploding": lambda: history(last=12, weights=exploding, losses=lambda s: 10.0 ** (25 * s)),
    "constant": lambda: history(weights=lambda step: 0.5),
    "zero": lambda: history(weights=lambda step: 0.0, losses=lambda step: 0.0),
    "regression": lambda: history(classified=False),
}
