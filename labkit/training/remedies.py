"""Remedies: changes to a recipe that would cure a finding, computed from the recipe."""

from __future__ import annotations

import math
from typing import Any

from labkit.core.parameters import parameters
from labkit.recipe.recipe import Recipe

Changes = dict[str, Any]

# Learning rates at which each optimizer trains the small networks of this package.
USUAL_LR = {
    "sgd": 0.1,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adam": 0.01,
    "adamw": 0.01,
    "nadam": 0.01,
    "radam": 0.01,
    "adamax": 0.02,
    "adagrad": 0.05,
    "adadelta": 1.0,
    "rmsprop": 0.005,
    "asgd": 0.1,
    "rprop": 0.01,
    "adafactor": 0.02,
    "lbfgs": 1.0,
    "muon": 0.01,
}
BOUNDED = ("tanh", "sigmoid")  # activations with two flat ends, which Xavier's scale was made for


def usual_lr(recipe: Recipe) -> float:
    """A learning rate that suits the recipe's optimizer; infinity where none is known."""
    return USUAL_LR.get(recipe.optimizer, math.inf)


def shorter_steps(recipe: Recipe, lr: float) -> Changes:
    """A tenth of the learning rate `lr`, or the optimizer's usual one if that is lower."""
    return _rate(min(lr / 10, usual_lr(recipe)))


def longer_steps(recipe: Recipe, lr: float) -> Changes:
    """Ten times the learning rate `lr`, or the optimizer's usual one if that is higher."""
    return _rate(max(lr * 10, USUAL_LR.get(recipe.optimizer, lr * 10)))


def _rate(lr: float) -> Changes:
    known = parameters(Recipe)["lr"]
    low, high = known.low or 0.0, known.high or lr
    return {"lr": float(f"{min(max(lr, low), high):.3g}")}


def random_start(recipe: Recipe) -> Changes:
    """Random weights of the size that suits the activation: Xavier's or He's."""
    init = "xavier_normal" if recipe.activation in BOUNDED else "kaiming_normal"
    if init == recipe.init:
        return {"init_args": {}}
    return {"init": init}


def open_activation(recipe: Recipe) -> Changes:
    """ReLU, whose slope is 1 for every positive input, and initial weights that suit it."""
    changes = {"activation": "relu"}
    return changes | random_start(recipe.replace(**changes))
