from __future__ import annotations

import math

import pytest

from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from labkit.training.remedies import (
    longer_steps,
    open_activation,
    random_start,
    shorter_steps,
    usual_lr,
)
from labkit.training.trainer import fit, initial_network


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_has_a_usual_learning_rate_and_trains_at_it(optimizer):
    recipe = Recipe(task="moons", optimizer=optimizer, hidden=(8,), steps=200, device="cpu")
    rate = usual_lr(recipe)
    assert math.isfinite(rate)
    _, losses = fit(recipe.replace(lr=rate)).curve("train_loss")
    assert losses[-1] < 0.6 * math.log(2), "a guess between two classes has log 2"


def test_an_optimizer_that_is_not_known_has_no_usual_rate():
    strange = Recipe().model_copy(update={"optimizer": "of tomorrow"})
    assert usual_lr(strange) == math.inf
    assert shorter_steps(strange, 0.5) == {"lr": 0.05}
    assert longer_steps(strange, 0.5) == {"lr": 5.0}


@pytest.mark.parametrize(
    ("cure", "lr", "changed"),
    [
        (shorter_steps, 50.0, 0.1),  # sgd's usual one
        (shorter_steps, 0.5, 0.05),
        (shorter_steps, 2e-5, 1e-5),  # the lowest that a recipe takes
        (longer_steps, 1e-5, 0.1),  # sgd's usual one
        (longer_steps, 0.5, 5.0),
        (longer_steps, 9.0, 10.0),  # the highest that a recipe takes
    ],
)
def test_learning_rates_stay_within_what_a_recipe_takes(cure, lr, changed):
    recipe = Recipe(optimizer="sgd")
    assert cure(recipe, lr) == {"lr": pytest.approx(changed)}
    assert recipe.replace(**cure(recipe, lr)).lr == pytest.approx(changed)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("init", ["zeros", "constant", "xavier_normal", "kaiming_normal"])
def test_a_random_start_has_the_size_that_suits_the_activation(activation, init):
    """Xavier (2010): var = 2 / (in + out); He (2015): var = 2 / in."""
    recipe = Recipe(task="digits", hidden=(256,), init=init, activation=activation, device="cpu")
    weight = next(initial_network(recipe.replace(**random_start(recipe))).parameters())
    out, inputs = weight.shape
    expected = math.sqrt(2 / (inputs + out) if activation == "sigmoid" else 2 / inputs)
    assert weight.std().item() == pytest.approx(expected, rel=0.05)


def test_a_random_start_takes_the_arguments_away_where_the_init_is_right_already():
    recipe = Recipe(activation="relu", init="kaiming_normal", init_args={"mode": "fan_out"})
    assert random_start(recipe) == {"init_args": {}}


@pytest.mark.parametrize("init", ["zeros", "kaiming_normal"])
def test_an_open_activation_comes_with_weights_that_suit_it(init):
    recipe = Recipe(activation="sigmoid", init=init)
    mended = recipe.replace(**open_activation(recipe))
    assert (mended.activation, mended.init) == ("relu", "kaiming_normal")
