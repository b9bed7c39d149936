"""Findings from the units: dead ones, which give 0 for every sample, and saturated ones."""

from __future__ import annotations

from collections.abc import Callable

from labkit.diagnosis.evidence import Evidence, Flow, tail
from labkit.diagnosis.words import change, remedy
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.training.remedies import Changes, random_start, shorter_steps, usual_lr

DEAD = 0.7  # of a layer's units; healthy training may kill half of a narrow layer
SATURATED_START = 0.6  # of a layer's activations; well-sized weights saturate 6 % at most
SATURATED_END = 0.9  # trained units may give -1 or 1 for most inputs, and be right
UNLEARNT = 0.5  # of a guess's loss: a saturated network below it has learnt to be sure


def dead_from_the_start(run: Evidence) -> Finding | None:
    """ReLU units that the initial weights keep from ever being active."""
    return _dead(run, run.start)


def dead_at_the_end(run: Evidence) -> Finding | None:
    """ReLU units that training has killed."""
    return _dead(run, run.end)


def _dead(run: Evidence, flow: Flow | None) -> Finding | None:
    if flow is None or not max([0.0, *flow.dead]) >= DEAD:
        return None
    assert run.recipe is not None
    share = max(flow.dead)
    layer = flow.layers[flow.dead.index(share)]
    if flow.step == 0:
        words, changes = (
            "Start from random weights, as many above zero as below",
            change(random_start, run),
        )
    elif usual_lr(run.recipe) < run.lr:
        words, changes = (
            "Take shorter steps: a long one has pushed them there",
            change(shorter_steps, run, run.lr),
        )
    else:
        words, changes = (
            "Use an activation that lets a little through below zero",
            {"activation": "leaky_relu"},
        )
    return Finding(
        "dead_relus",
        f"{share:.0%} of the ReLU units of {layer} are dead at step {flow.step:,}: they give "
        "0 for every sample, and no gradient passes them.",
        remedy(words, changes),
        {
            "step": flow.step,
            "layer": layer,
            "share": dict(zip(flow.layers, flow.dead, strict=True)),
        },
        changes,
    )


def saturated_from_the_start(run: Evidence) -> Finding | None:
    """Units that the initial weights send to the flat ends of their activation."""
    return _saturated(run, run.start, SATURATED_START, random_start)


def saturated_at_the_end(run: Evidence) -> Finding | None:
    """Units that training has sent there, without having learnt."""
    losses = run.losses
    if not run.judgeable or not tail(losses) > UNLEARNT * run.guess:
        return None
    return _saturated(run, run.end, SATURATED_END, lambda recipe: shorter_steps(recipe, run.lr))


def _saturated(
    run: Evidence, flow: Flow | None, limit: float, make: Callable[[Recipe], Changes]
) -> Finding | None:
    if flow is None or not max([0.0, *flow.saturated]) >= limit:
        return None
    assert run.recipe is not None
    share = max(flow.saturated)
    layer = flow.layers[flow.saturated.index(share)]
    changes = make(run.recipe)
    words = "Start from smaller weights" if "lr" not in changes else "Take shorter steps"
    return Finding(
        "saturated_units",
        f"{share:.0%} of the activations of {layer} are saturated at step {flow.step:,}: the "
        f"{run.recipe.activation} is flat there and lets almost no gradient pass.",
        remedy(words, changes),
        {
            "step": flow.step,
            "layer": layer,
            "share": dict(zip(flow.layers, flow.saturated, strict=True)),
        },
        changes,
    )
