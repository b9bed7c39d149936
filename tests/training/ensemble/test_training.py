"""An ensemble against the ordinary trainer, recipe by recipe."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labkit.core.threads import one_thread
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from labkit.recipe.schedules import SCHEDULES
from labkit.training.ensemble import Ensemble
from labkit.training.history import History
from labkit.training.recorder import Recorder, Step
from labkit.training.statistics import STATISTICS
from labkit.training.sweeps import grid
from labkit.training.trainer import fit

BASE = Recipe(task="moons", steps=100, batch_size=10, hidden=(8, 8))
USUAL = {"adadelta": 1.0, "sgd": 0.1, "adagrad": 0.1, "asgd": 0.1}
STACKED = [name for name, entry in OPTIMIZERS.items() if entry.traits.get("elementwise")]


def histories(recipes: list[Recipe]) -> list[History]:
    ensemble = Ensemble(recipes)
    with one_thread():
        while not ensemble.finished:
            ensemble.advance()
    return [ensemble.history(i) for i in range(len(recipes))]


def assert_same_run(ours: History, theirs: History, rtol: float = 1e-5) -> None:
    """Weights to 1e-5 of their norm, and everything else that was recorded."""
    assert ours.layout == theirs.layout
    assert ours.about == theirs.about
    assert ours.last_step == theirs.last_step
    a, b = ours.flat(), theirs.flat()
    if np.isfinite(b).all():
        assert np.linalg.norm(a - b) <= rtol * np.linalg.norm(b)
    for name in ("loss", "lr", "train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        steps, values = ours.curve(name)
        wanted_steps, wanted = theirs.curve(name)
        np.testing.assert_array_equal(steps, wanted_steps, err_msg=name)
        # A sample on the boundary may fall on either side of it.
        atol = 0.02 if "accuracy" in name else 1e-5
        np.testing.assert_allclose(values, wanted, rtol=1e-3, atol=atol, err_msg=name)
    kept, rows = ours.snapshots()
    every, wanted = theirs.snapshots()
    np.testing.assert_allclose(rows, wanted[np.isin(every, kept)], rtol=1e-3, atol=1e-5)
    for tensor in ours.layout.names:
        for name in STATISTICS:
            steps, values = ours.statistic(name, tensor)
            every, wanted = theirs.statistic(name, tensor)
            # An update beside weights that are almost zero is a large and shaky number.
            rtol = 0.05 if name == "update_ratio" else 2e-3
            np.testing.assert_allclose(
                values, wanted[np.isin(every, steps)], rtol, atol=2e-5, err_msg=f"{tensor} {name}"
            )


@pytest.mark.parametrize("optimizer", STACKED)
def test_every_elementwise_optimizer_gives_the_same_weights(optimizer):
    lr = USUAL.get(optimizer, 0.01)
    recipes = grid(BASE.replace(optimizer=optimizer), lr=[lr, lr / 3], seed=[0, 1])
    recipes += [recipes[0].replace(schedule="cosine"), recipes[0].replace(init="xavier_uniform")]
    if OPTIMIZERS[optimizer].traits.get("weight_decay", True):
        recipes += [r.replace(weight_decay=0.05) for r in recipes[:3]]
    for recipe, ours in zip(recipes, histories(recipes), strict=True):
        assert_same_run(ours, fit(recipe))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "rmsprop", "lr": 0.001, "optimizer_args": {"momentum": 0.9}},
        {"optimizer": "adam", "optimizer_args": {"beta1": 0.5}},
        {"optimizer": "nesterov", "optimizer_args": {"momentum": 0.5}, "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.3, "schedule": "one_cycle"},
    ],
    ids=str,
)
def test_arguments_of_the_optimizer(changes):
    recipes = [BASE.replace(**changes), BASE.replace(**changes, seed=1), BASE]
    for recipe, ours in zip(recipes, histories(recipes), strict=True):
        assert_same_run(ours, fit(recipe))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule(schedule):
    arguments = {"patience": 3} if schedule == "plateau" else {}
    scheduled = BASE.replace(schedule=schedule, schedule_args=arguments)
    recipes = [scheduled, BASE, scheduled.replace(lr=0.05, seed=3)]
    for recipe, ours in zip(recipes, histories(recipes), strict=True):
        assert_same_run(ours, fit(recipe))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(task="regression", steps=60, hidden=(8,)),
        Recipe(task="digits", steps=40, hidden=(16,), activation="relu"),
        Recipe(task="digits", steps=20, network="cnn", hidden=(4, 4), samples=300),
        Recipe(task="blobs", steps=50, hidden=()),
        Recipe(task="xor", steps=50, hidden=(6,) * 5, activation="gelu", init="lsuv"),
        Recipe(task="moons", steps=50, activation="silu", batch_size=64),
        Recipe(task="moons", steps=50, activation="sigmoid", batch_size=1000),
        Recipe(task="moons", steps=1),
        Recipe(task="moons", steps=450, hidden=(4,)),
    ],
    ids=lambda recipe: recipe.to_text(),
)
def test_tasks_networks_and_batches(recipe):
    recipes = [recipe, recipe.replace(seed=1, lr=0.003), recipe.replace(optimizer="sgd")]
    for one, ours in zip(recipes, histories(recipes), strict=True):
        assert_same_run(ours, fit(one))


def test_each_may_have_data_of_its_own():
    recipes = grid(BASE, data_seed=[0, 1], label_noise=[0.0, 0.3], noise=[0.1, 0.2])
    for recipe, ours in zip(recipes, histories(recipes), strict=True):
        assert_same_run(ours, fit(recipe))


def test_more_data_than_are_kept_in_memory():
    """Each LSUV start belongs to data of its own, and `recipe.data()` remembers only some."""
    recipes = grid(BASE.replace(init="lsuv", steps=2, samples=20), data_seed=range(40))
    for recipe, ours in zip(recipes, histories(recipes), strict=True):
        np.testing.assert_array_equal(ours.flat(0), fit(recipe).flat(0))


def test_one_member_alone():
    (ours,) = histories([BASE])
    assert_same_run(ours, fit(BASE))


WILD = Recipe(task="moons", optimizer="sgd", activation="identity", steps=100, hidden=(8, 8))


def test_a_diverged_member_leaves_at_the_same_step_and_the_others_continue():
    recipes = grid(WILD, lr=[0.1, 10.0, 0.03, 3.0, 5.0])
    recipes.append(WILD.replace(optimizer="adam", lr=0.01))
    alone = [fit(recipe) for recipe in recipes]
    ended = [history.finding is not None for history in alone]
    assert 2 <= sum(ended) < len(recipes), "the test needs both kinds"
    for ours, theirs in zip(histories(recipes), alone, strict=True):
        assert ours.last_step == theirs.last_step
        if theirs.finding is None:
            assert ours.finding is None
            assert_same_run(ours, theirs)
        else:
            for key in ("kind", "remedy"):
                assert ours.finding[key] == theirs.finding[key]
            for key in ("step", "layer", "last_good_step"):
                assert ours.finding["evidence"][key] == theirs.finding["evidence"][key]


def test_all_may_diverge():
    recipes = grid(WILD, lr=[9.0, 10.0])
    found = histories(recipes)
    assert all(history.finding for history in found)
    assert [h.last_step for h in found] == [fit(recipe).last_step for recipe in recipes]


def test_an_update_that_diverges_is_found_by_the_evaluation():
    """Loss is fine, the update is infinite: `Trainer` says so at the evaluation that follows."""
    recipe = Recipe(task="regression", optimizer="sgd", lr=10.0, init="normal", steps=20,
                    init_args={"std": 10.0}, activation="identity", hidden=(64, 64))  # fmt: skip
    theirs = fit(recipe)
    assert theirs.finding
    (ours, _) = histories([recipe, recipe.replace(lr=1e-5)])
    assert ours.last_step == theirs.last_step
    assert ours.finding["evidence"]["step"] == theirs.finding["evidence"]["step"]


def test_patience_ends_a_member_and_not_the_others():
    recipe = Recipe(task="moons", samples=40, noise=0.3, steps=800, hidden=(16,), lr=0.03)
    recipes = [recipe.replace(patience=2), recipe, recipe.replace(patience=4, seed=1)]
    alone = [fit(one) for one in recipes]
    assert alone[0].last_step < 800, "the test needs a run that ends early"
    for ours, theirs in zip(histories(recipes), alone, strict=True):
        assert ours.last_step == theirs.last_step
        assert ours.marks == theirs.marks
        assert_same_run(ours, theirs, rtol=1e-3)


def test_what_is_kept_is_thinned_but_not_the_losses():
    (history,) = histories([Recipe(task="moons", steps=1500, hidden=(4,))])
    assert len(history.curve("loss")[0]) == 1500
    steps, rows = history.snapshots()
    assert 100 <= len(rows) <= 201
    assert set(np.diff(steps)) == {8}
    described, _ = history.statistic("norm", "layer1.weight")
    assert described[-1] == 1500
    assert len(described) <= 202
    with pytest.raises(ValueError, match="thinned"):
        Recorder(history).record(Step(1501, 0.1, 0.1), history.flat(), history.flat())


def test_a_thinned_history_can_be_saved(tmp_path):
    (history,) = histories([BASE.replace(steps=700)])
    again = History.load(history.save(tmp_path / "run"))
    for name in STATISTICS:
        for one, other in zip(
            history.statistic(name, "output.bias"), again.statistic(name, "output.bias"),
            strict=True,
        ):  # fmt: skip
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(history.flat(), again.flat())
    np.testing.assert_array_equal(history.snapshots()[1], again.snapshots()[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu():
    recipes = grid(BASE, optimizer=["sgd", "adam"], seed=[0, 1], lr=[0.01, 0.1])
    on_gpu = histories([recipe.replace(device="cuda") for recipe in recipes])
    for ours, recipe in zip(on_gpu, recipes, strict=True):
        wanted = fit(recipe.replace(device="cpu")).flat()
        assert np.linalg.norm(ours.flat() - wanted) <= 1e-3 * np.linalg.norm(wanted)


def test_accuracy_counts_the_first_of_equal_outputs_as_argmax_does():
    """All logits are 0 where all weights are: every sample is then said to be class 0."""
    (ours,) = histories([BASE.replace(init="zeros", optimizer="sgd", lr=1e-5, steps=1)])
    theirs = fit(BASE.replace(init="zeros", optimizer="sgd", lr=1e-5, steps=1))
    assert ours.curve("val_accuracy")[1][0] == theirs.curve("val_accuracy")[1][0]
    assert math.isfinite(ours.curve("val_accuracy")[1][0])
