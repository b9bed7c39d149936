"""Findings from the signals: activations and gradients that explode or vanish."""

from __future__ import annotations

import numpy as np

from labkit.core.formatting import number
from labkit.diagnosis.evidence import Evidence
from labkit.diagnosis.words import change, remedy
from labkit.training.findings import Finding
from labkit.training.remedies import open_activation, random_start, usual_lr

SMALL_SIGNAL = 0.01  # of the inputs' std: tanh is a straight line there, biases outweigh it
LARGE_SIGNAL = 30.0  # of the inputs' std: well-sized weights give 0.1 to 4
SMALL_GRADIENT = 1e-3  # of the output's: three sigmoid layers alone give 0.002
LARGE_GRADIENT = 50.0  # of the output's: well-sized weights give at most 3


def exploding_activations(run: Evidence) -> Finding | None:
    """A signal that the initial weights make far larger than the inputs."""
    flow = run.start
    if flow is None:
        return None
    sizes, places = [*flow.activations, flow.output], [*flow.layers, "the output"]
    if not max(sizes) >= LARGE_SIGNAL:
        return None
    where = sizes.index(max(sizes))
    layer = places[where]
    changes = change(random_start, run)
    return Finding(
        "exploding_activations",
        f"Before the first step the signal grows from layer to layer: its std is "
        f"{number(sizes[0])} times the inputs' in {places[0]} and "
        f"{number(sizes[where])} times in {layer}.",
        remedy("Start from smaller weights, of the size that keeps the signal steady", changes),
        {"step": 0, "layer": layer, "std": sizes},
        changes,
    )


def vanishing_activations(run: Evidence) -> Finding | None:
    """A signal that the weights make far smaller than the inputs, and training no larger."""
    sizes = [flow.activations for flow in (run.start, run.end) if flow and flow.layers]
    if not sizes or not all(min(each) <= SMALL_SIGNAL for each in sizes):
        return None
    assert run.start is not None
    where = int(np.argmin(sizes[0]))
    layer = run.start.layers[where]
    changes = change(random_start, run)
    return Finding(
        "vanishing_activations",
        f"The signal dies on its way: before the first step its std is {number(sizes[0][0])} times "
        f"the inputs' in {run.start.layers[0]} and {number(sizes[0][where])} times in {layer}; at "
        f"step {run.steps:,} it is {number(sizes[-1][where])} times there.",
        remedy("Start from larger weights, of the size that keeps the signal steady", changes),
        {"step": run.steps, "layer": layer, "std": sizes[0], "std_at_the_end": sizes[-1]},
        changes,
    )


def exploding_gradients(run: Evidence) -> Finding | None:
    """Initial weights that return a far larger gradient than they get."""
    flow = run.start
    if flow is None or not flow.gradients[0] >= LARGE_GRADIENT * flow.gradients[-1] > 0:
        return None
    ratio = flow.gradients[0] / flow.gradients[-1]
    changes = change(random_start, run)
    return Finding(
        "exploding_gradients",
        f"Before the first step the gradient grows on its way back: in {flow.layers[0]} it is "
        f"{number(ratio)} times as large as in the output.",
        remedy("Start from smaller weights", changes),
        {"step": 0, "layer": flow.layers[0], "ratio": ratio, "gradients": flow.gradients},
        changes,
    )


def vanishing_gradients(run: Evidence) -> Finding | None:
    """Weights that return a far smaller gradient than they get, from the first to the last."""
    flows = [flow for flow in (run.start, run.end) if flow and flow.layers]
    ratios = [flow.gradients[0] / flow.gradients[-1] for flow in flows if flow.gradients[-1] > 0]
    if not ratios or not all(ratio <= SMALL_GRADIENT for ratio in ratios):
        return None
    first, ratio = flows[0], ratios[0]
    assert run.recipe is not None
    if run.recipe.activation == "sigmoid":
        why = " A sigmoid's slope is 1/4 at most, and every layer multiplies by it."
        words, changes = "Use an activation with a slope of 1", open_activation(run.recipe)
    else:
        why = ""
        words, changes = (
            "Start from weights of the size that keeps the signal steady",
            change(random_start, run),
        )
    if run.lr > (usual := usual_lr(run.recipe)):
        changes = changes | {"lr": usual}  # the rate is too high once gradients do arrive
    return Finding(
        "vanishing_gradients",
        f"The gradient shrinks on its way back: in {first.layers[0]} it is {number(ratio)} times "
        f"that of the output, and {number(ratios[-1])} times at step {run.steps:,}.{why}",
        remedy(words, changes),
        {
            "step": run.steps,
            "layer": first.layers[0],
            "ratio": ratio,
            "ratio_at_the_end": ratios[-1],
            "gradients": first.gradients,
        },
        changes,
    )
