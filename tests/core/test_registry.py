from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from torch import nn, optim

from labkit.core.errors import RecipeError
from labkit.core.parameters import knob, parameters
from labkit.core.registry import Registry
from labkit.recipe.initialize import INITS
from labkit.recipe.networks import ACTIVATIONS, NETWORKS
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import REGISTRIES, Recipe
from labkit.recipe.schedules import SCHEDULES
from labkit.recipe.tasks import TASKS
from labkit.training.trainer import fit

SHORT = {"task": "blobs", "samples": 60, "steps": 4, "hidden": (3,)}


def make_init(
    weight, gain, generator, *, spread: Annotated[float, knob(0.0, 2.0, help="width")] = 0.25
):
    """Two values only."""
    weight.copy_(spread * torch.randint(0, 2, weight.shape, generator=generator))


def make_optimizer(
    params, lr, weight_decay, *, mode: Annotated[Literal["up", "down"], knob(help="way")] = "down"
):
    """Down, or up."""
    return optim.SGD(params, lr, maximize=mode == "up")


def make_schedule(optimizer, steps, *, after: Annotated[int, knob(1, 9, help="when")] = 2):
    """Half, after a while."""
    return optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1.0 if t < after else 0.5)


def make_task(samples, noise, rng):
    """Left or right of zero."""
    points = rng.normal(0, 1, (samples, 2))
    return points, (points[:, 0] > 0).astype(np.int64)


TASK_TRAITS = {
    "samples": 60,
    "noise": 0.25,
    "classes": 2,
    "largest": 100,
    "image": False,
    "kind": "classification",
}

# field -> its registry, a function to register, its traits, arguments that are not defaults
ADDITIONS = {
    "init": (INITS, make_init, {"formula": "w in {0, s}", "source": "here"}, {"spread": 0.75}),
    "optimizer": (OPTIMIZERS, make_optimizer, {"formula": "w ± lr·g"}, {"mode": "up"}),
    "schedule": (SCHEDULES, make_schedule, {"formula": "1, then 1/2"}, {"after": 3}),
    "task": (TASKS, make_task, TASK_TRAITS, {}),
    "activation": (ACTIVATIONS, nn.Softsign, {"gain": 2.0}, {}),
    "network": (NETWORKS, NETWORKS["mlp"].make, {}, {}),
}


def test_every_registry_of_a_recipe_can_be_extended_here():
    assert set(ADDITIONS) == set(REGISTRIES)


@pytest.mark.parametrize("field", ADDITIONS)
def test_an_entry_made_at_run_time_is_a_full_citizen(field, enter):
    registry, make, traits, arguments = ADDITIONS[field]
    enter(registry, "homemade", **traits)(make)
    changes = {field: "homemade"}
    if arguments:
        changes[f"{field}_args"] = arguments
    recipe = Recipe(**{**SHORT, **changes})

    assert "homemade" in parameters(Recipe)[field].choices
    row = registry.table()[-1]
    assert row["name"] == "homemade"
    assert row["what"] == make.__doc__.strip().splitlines()[0]
    assert row["formula"] == traits.get("formula", "")
    assert all(f"{name}=" in row["arguments"] for name in arguments)

    text = recipe.to_text()
    assert f"{field}=homemade" in text
    assert all(f"{name}={value}" in text for name, value in arguments.items())
    assert Recipe.from_text(text) == recipe

    assert fit(recipe).last_step == SHORT["steps"]

    registry.unregister("homemade")
    with pytest.raises(RecipeError, match=f"{field}='homemade' is not known"):
        Recipe(**changes)
    assert "homemade" not in parameters(Recipe)[field].choices


def test_a_homemade_optimizer_and_schedule_do_what_they_say(enter):
    enter(OPTIMIZERS, "homemade")(make_optimizer)
    enter(SCHEDULES, "homemade")(make_schedule)
    recipe = Recipe(**SHORT).replace(
        steps=40, lr=0.5, optimizer="homemade", optimizer_args={"mode": "up"}, schedule="homemade"
    )
    history = fit(recipe)
    assert history.curve("lr")[1].tolist() == [0.5, 0.5] + [0.25] * 38
    _, losses = history.curve("train_loss")
    assert losses[-1] > losses[0], "maximizing must make the loss larger"


def test_homemade_arguments_are_checked_like_built_in_ones(enter):
    enter(INITS, "homemade")(make_init)
    for bad, message in [
        ({"spread": 3}, "init_args.spread=3 is not allowed: give a number from 0 to 2."),
        ({"sprad": 1}, "init_args.sprad is not a field of 'homemade': did you mean 'spread'?"),
        ({"spread": True}, "init_args.spread=True is not allowed"),
    ]:
        with pytest.raises(RecipeError) as caught:
            Recipe(init="homemade", init_args=bad)
        assert message in str(caught.value)


def test_the_same_name_twice_is_refused(enter):
    enter(INITS, "homemade")(make_init)
    with pytest.raises(ValueError, match="init 'homemade' is registered already"):
        INITS.register("homemade")(make_init)
    assert INITS.names().count("homemade") == 1


def test_a_registry_is_a_mapping_in_the_order_of_registration():
    things = Registry("thing")
    make = things.register("b", formula="x", source="y", colour="red")(lambda: 1)
    things.register("a")(lambda: 2)
    assert things.names() == list(things) == ["b", "a"]
    assert (len(things), "a" in things, "c" in things) == (2, True, False)
    assert things["b"].make is make, "the decorator gives the function back"
    assert things["b"].traits["colour"] == "red"
    with pytest.raises(RecipeError, match=r"thing='bb' is not known: did you mean 'b'\?"):
        things["bb"]


def test_check_keeps_only_what_differs_from_the_defaults():
    entry = OPTIMIZERS["adam"]
    assert entry.check({"beta1": 0.9, "beta2": 0.5, "eps": 1e-8}, "x") == {"beta2": 0.5}


@pytest.mark.parametrize("field", REGISTRIES)
def test_tables_have_a_row_for_each_entry(field):
    table = REGISTRIES[field].table()
    assert [row["name"] for row in table] == REGISTRIES[field].names()
    assert all(row["what"] for row in table), "an entry without a summary"
    assert all(set(row) == {"name", "what", "formula", "arguments", "source"} for row in table)
