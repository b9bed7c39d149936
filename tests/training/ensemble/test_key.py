"""Which recipes are trained together, and which on their own."""

from __future__ import annotations

import pytest

from labkit.recipe.recipe import Recipe
from labkit.training.ensemble import ensemble_key

BASE = Recipe(task="moons", steps=100, batch_size=10, hidden=(8, 8))


@pytest.mark.parametrize(
    "change",
    [
        {"init": "zeros"},
        {"seed": 9},
        {"optimizer": "sgd", "lr": 1.0},
        {"schedule": "cosine"},
        {"weight_decay": 0.1},
        {"data_seed": 1},
        {"patience": 3},
    ],
    ids=str,
)
def test_recipes_that_are_trained_together(change):
    assert ensemble_key(BASE.replace(**change)) == ensemble_key(BASE)


def test_recipes_that_need_different_ensembles():
    changes = [
        {},
        {"steps": 50},
        {"batch_size": 11},
        {"hidden": (8,)},
        {"activation": "relu"},
        {"samples": 100},
        {"task": "digits"},
    ]
    keys = {ensemble_key(BASE.replace(**change)) for change in changes}
    assert None not in keys
    assert len(keys) == len(changes)


@pytest.mark.parametrize("optimizer", ["lbfgs", "muon", "adafactor"])
def test_optimizers_that_see_more_than_one_weight_at_a_time_train_alone(optimizer):
    assert ensemble_key(BASE.replace(optimizer=optimizer)) is None
