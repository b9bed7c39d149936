from __future__ import annotations

import numpy as np
import pytest
import torch

import labkit.training.race
from labkit.core.errors import RecipeError
from labkit.core.executors import SynchronousExecutor
from labkit.recipe.recipe import Recipe
from labkit.training.race import Race
from labkit.training.trainer import fit

SGD = Recipe(
    task="moons", samples=100, hidden=(6, 4), optimizer="sgd", lr=0.1, steps=30, device="cpu"
)
ADAM = SGD.replace(optimizer="adam", lr=0.01)


def race(*recipes: Recipe) -> Race:
    return Race(recipes, executor=SynchronousExecutor())


def start(history) -> np.ndarray:
    return history.flat(0)


# --- initial weights -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"optimizer": "adam"}, True),
        ({"lr": 0.5}, True),
        ({"seed": 7}, True),
        ({"schedule": "cosine"}, True),
        ({"batch_size": 8}, True),
        ({"activation": "relu"}, True),
        ({"init": "orthogonal"}, False),
        ({"init_args": {"mode": "fan_out"}}, False),
        ({"hidden": (6, 5)}, False),
        ({"hidden": (4, 6)}, False),
    ],
    ids=str,
)
def test_same_init_and_shapes_share_the_first_ones_weights(change, shared):
    other = SGD.replace(**change)
    run = race(SGD, other)
    assert run.shares_start == [True, shared]
    first, second = (start(history) for history in run.histories.values())
    np.testing.assert_array_equal(first, start(fit(SGD)), err_msg="the first one's own weights")
    expected = first if shared else start(fit(other.replace(steps=1)))
    np.testing.assert_array_equal(second, expected)


def test_each_contender_trains_as_it_would_alone():
    """Where the start is its own anyway, a race changes nothing."""
    run = race(SGD, ADAM)
    run.run()
    for history, recipe in zip(run.histories.values(), (SGD, ADAM), strict=True):
        np.testing.assert_array_equal(history.flat(), fit(recipe).flat())
        np.testing.assert_array_equal(history.curve("loss")[1], fit(recipe).curve("loss")[1])


# --- side by side ----------------------------------------------------------------------


def test_all_are_always_equally_far():
    run = race(SGD, ADAM, SGD.replace(lr=0.5))
    run.step(7)
    assert [trainer.step for trainer in run.trainers] == [7, 7, 7]
    assert (run.state, run.steps_done, run.over) == ("paused", 7, False)


def test_a_shorter_contender_waits_at_its_end():
    run = race(SGD, ADAM.replace(steps=10))
    run.step(20)
    assert [trainer.step for trainer in run.trainers] == [20, 10]
    assert (run.steps_done, run.over) == (20, False)
    run.run()
    assert [trainer.step for trainer in run.trainers] == [30, 10]
    assert run.state == "finished"


def test_one_that_diverges_lets_the_others_go_on():
    base = Recipe(
        task="regression", optimizer="sgd", lr=0.01, activation="relu", steps=40, device="cpu"
    )
    wild = base.replace(lr=10.0)
    big = {"init": "normal", "init_args": {"std": 2.0}}
    run = race(base.replace(**big, lr=1e-4), wild.replace(**big))
    run.run()
    assert [trainer.step == 40 for trainer in run.trainers] == [True, False]
    assert run.state == "finished"
    assert list(run.findings) == ["lr=10"]
    assert run.findings["lr=10"].kind == "diverged"
    rows = run.table()
    assert "finding" not in rows[0]
    assert rows[1]["finding"] == run.findings["lr=10"].message


def test_rewind_returns_everybody_to_the_same_weights():
    run = race(SGD, ADAM.replace(seed=3))
    before = [start(history) for history in run.histories.values()]
    run.run()
    ends = [history.flat() for history in run.histories.values()]
    run.rewind()
    assert (run.state, run.steps_done) == ("ready", 0)
    for history, weights in zip(run.histories.values(), before, strict=True):
        np.testing.assert_array_equal(history.flat(), weights)
    run.run()
    for history, weights in zip(run.histories.values(), ends, strict=True):
        np.testing.assert_array_equal(history.flat(), weights)


def test_a_race_on_its_own_thread_gives_the_same():
    apart, here = Race([SGD, ADAM]), race(SGD, ADAM)
    apart.run()
    here.run()
    assert apart.state == "finished"
    for one, two in zip(apart.histories.values(), here.histories.values(), strict=True):
        np.testing.assert_array_equal(one.flat(), two.flat())


# --- labels and table ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ([{}], ["sgd"]),
        ([{}, {"optimizer": "adam"}], ["sgd", "adam"]),
        ([{}, {"optimizer": "adam", "lr": 0.01}], ["sgd lr=0.1", "adam lr=0.01"]),
        ([{}, {"hidden": (3,)}], ["hidden=6-4", "hidden=3"]),
        ([{}, {"init": "normal", "init_args": {"std": 0.3}}], ["kaiming_normal", "normal std=0.3"]),
        (
            [{"optimizer": "nesterov", "optimizer_args": {"momentum": m}} for m in (0.9, 0.5)],
            ["nesterov", "nesterov momentum=0.5"],
        ),
        (
            [{}, {"schedule": "cosine"}, {"seed": 2}],
            ["constant seed=0", "cosine seed=0", "constant seed=2"],
        ),
    ],
)
def test_labels_say_what_is_particular(changes, labels):
    assert race(*(SGD.replace(**change) for change in changes)).labels == labels


def test_the_table_has_one_row_a_contender():
    run = race(SGD, ADAM, SGD.replace(init="orthogonal", lr=0.2))
    run.run()
    rows = run.table()
    assert [row["contender"] for row in rows] == run.labels
    assert [row["same start"] for row in rows] == [True, True, False]
    for row, trainer in zip(rows, run.trainers, strict=True):
        summary = trainer.history.summary()
        assert {key: row[key] for key in summary} == summary
        assert row["steps"] == 30


# --- changing contenders ---------------------------------------------------------------


def test_adding_and_removing_starts_all_anew():
    run = race(SGD, ADAM)
    run.step(5)
    third = SGD.replace(lr=0.5)
    run.add(third)
    assert (run.recipes, run.state, run.steps_done) == ([SGD, ADAM, third], "ready", 0)
    run.step(5)
    run.remove(0)
    assert (run.recipes, run.state, run.steps_done) == ([ADAM, third], "ready", 0)
    first = next(iter(run.histories.values()))
    np.testing.assert_array_equal(start(first), start(fit(ADAM)))


@pytest.mark.parametrize("twice", [SGD, ADAM, Recipe(**ADAM.model_dump())])
def test_the_same_contender_twice_is_refused(twice):
    run = race(SGD, ADAM)
    run.step(3)
    with pytest.raises(RecipeError, match="there already: task=moons"):
        run.add(twice)
    assert (run.recipes, run.steps_done) == ([SGD, ADAM], 3)
    with pytest.raises(RecipeError, match="two of these are the same"):
        Race([SGD, ADAM, twice])


def test_a_race_needs_a_recipe():
    with pytest.raises(RecipeError, match="at least one"):
        Race([])
    run = race(SGD)
    with pytest.raises(RecipeError, match="at least one"):
        run.remove(0)
    assert run.recipes == [SGD]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_contender_that_cannot_start_leaves_the_race_as_it_was():
    run = race(SGD, ADAM)
    run.step(4)
    with pytest.raises(RecipeError, match="no CUDA"):
        run.add(SGD.replace(device="cuda"))
    assert (run.recipes, run.labels) == ([SGD, ADAM], ["sgd lr=0.1", "adam lr=0.01"])
    assert [row["steps"] for row in run.table()] == [4, 4]
    run.run()
    assert [trainer.step for trainer in run.trainers] == [30, 30]


def test_a_reader_sees_a_whole_race_while_a_contender_is_added(monkeypatch):
    run, seen = race(SGD, ADAM), []
    real = labkit.training.race.Trainer

    def trainer(*args, **kwargs):
        seen.append((list(run.histories), len(run.table()), len(run.recipes)))
        return real(*args, **kwargs)

    monkeypatch.setattr(labkit.training.race, "Trainer", trainer)
    run.add(SGD.replace(lr=0.5))
    assert seen == [(["sgd lr=0.1", "adam lr=0.01"], 2, 2)] * 3
    assert len(run.histories) == 3
