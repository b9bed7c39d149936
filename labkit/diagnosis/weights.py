"""Findings from the weights: frozen ones, and units that are copies of each other."""

from __future__ import annotations

import numpy as np

from labkit.core.formatting import number
from labkit.diagnosis.evidence import Evidence
from labkit.diagnosis.units import DEAD
from labkit.diagnosis.words import change, layers, names, remedy
from labkit.training.findings import Finding
from labkit.training.remedies import longer_steps, random_start

STUCK_STEPS = 10  # symmetric weights may stand still for the first steps
TWINS = 0.5  # a few equal units happen (zero rows of `sparse`), half of a layer do not
ALIKE = 1e-3  # units that began equal count as equal while rounding alone divides them


def frozen(run: Evidence) -> Finding | None:
    """Weights that never moved."""
    if run.steps < STUCK_STEPS:
        return None
    stuck = [t for t in run.matrices if not run.history.statistic("distance", t)[1][-1] > 0]
    if not stuck or not set(stuck) & set(run.hidden):
        return None
    gradient = max(run.statistic("gradient_norm", t).max(initial=0.0) for t in stuck)
    weights = run.history.weights()
    zero = not any(weights[t].any() for t in stuck)
    flow = run.start
    if not zero and flow and max([0.0, *flow.dead]) >= DEAD:
        return None  # dead units explain it better
    if gradient > 0:
        why = (
            f"steps of {number(run.lr)} times a gradient of at most {number(gradient)} are lost in "
            "rounding"
        )
        words, changes = "Take longer steps", change(longer_steps, run, run.lr)
    else:
        why = "they are all zero, so" if zero else "units behind them are stuck:"
        why += " their gradient was exactly 0 at every step"
        words, changes = "Start from random weights", change(random_start, run)
    return Finding(
        "frozen_weights",
        f"The weights of {names(stuck)} never moved in {run.steps:,} steps: {why}.",
        remedy(words, changes),
        {"layers": layers(stuck), "step": run.steps, "largest_gradient": gradient},
        changes,
    )


def symmetric(run: Evidence) -> Finding | None:
    """Units of a layer that began equal and are still equal."""
    first, last = run.history.weights(0), run.history.weights()
    for tensor in run.hidden:
        bias = tensor.removesuffix("weight") + "bias"
        rows = [np.column_stack(_rows(w, tensor, bias)) for w in (first, last)]
        _, group, size = np.unique(rows[0], axis=0, return_inverse=True, return_counts=True)
        group = group.ravel()
        means = np.stack([rows[1][group == k].mean(axis=0) for k in range(len(size))])
        off = np.abs(rows[1] - means[group]).max(axis=1)
        twins = (size[group] > 1) & (off <= ALIKE * np.abs(rows[1]).max())
        count = int(twins.sum())
        if count >= TWINS * len(twins):
            layer, units = tensor.removesuffix(".weight"), len(twins)
            kinds = units - count + len(set(group[twins]))
            changes = change(random_start, run)
            return Finding(
                "symmetric_units",
                f"{count} of the {units} units of {layer} are copies of each other, from the "
                f"first step to step {run.steps:,}: the layer can do no more than {kinds} "
                f"{'units' if kinds > 1 else 'unit'} could. Equal weights get equal gradients.",
                remedy("Let chance make the units different", changes),
                {"layer": layer, "units": units, "copies": count, "different": kinds},
                changes,
            )
    return None


def _rows(weights: dict[str, np.ndarray], tensor: str, bias: str) -> list[np.ndarray]:
    """The parameters of each unit: its weights, and its bias where there is one."""
    matrix = weights[tensor].reshape(len(weights[tensor]), -1)
    return [matrix, weights[bias]] if bias in weights else [matrix]
