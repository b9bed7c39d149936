"""Grids and sweeps: order, mixtures, sizes, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from labkit.core.errors import LabError, RecipeError
from labkit.recipe.recipe import Recipe
from labkit.training.sweeps import MOST_MEMBERS, estimate, grid, sweep
from labkit.training.trainer import fit

BASE = Recipe(task="moons", steps=40, hidden=(4,))


def test_a_grid_is_every_combination_the_last_field_fastest():
    recipes = grid(BASE, lr=[0.1, 0.01], init=["zeros", "ones", "normal"])
    assert [(r.lr, r.init) for r in recipes] == [
        (0.1, "zeros"), (0.1, "ones"), (0.1, "normal"),
        (0.01, "zeros"), (0.01, "ones"), (0.01, "normal"),
    ]  # fmt: skip
    assert {recipe.hidden for recipe in recipes} == {(4,)}


def test_a_grid_of_nothing_is_the_recipe():
    assert grid(BASE) == [BASE]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"lr": []}, ["lr has no values"]),
        ({"lr": 0.1}, ["lr=0.1 is no list", "lr=[0.1]"]),
        ({"init": "zeros"}, ["init=['zeros']"]),
        ({"optimzer": ["sgd"]}, ["optimzer is not a field", "'optimizer'"]),
        ({"init": ["zeros", "zeroes"]}, ["init='zeroes'", "'zeros'"]),
    ],
)
def test_mistakes_in_a_grid(values, parts):
    with pytest.raises(RecipeError) as refused:
        grid(BASE, **values)
    for part in parts:
        assert part in str(refused.value)


def test_a_hundred_thousand_members_are_refused_before_anything_is_made():
    with pytest.raises(LabError) as refused:
        grid(BASE, lr=np.geomspace(1e-4, 1, 1000).tolist(), seed=range(100))
    assert re.fullmatch(
        r"100,000 members are more than 10,000: they would take about [\d.]+ [MG]iB of memory "
        r"and [\d.]+ (s|min|h)( \d+ (s|min))? here. "
        r"Give fewer values, or most=100000 if you mean it",
        str(refused.value),
    )


def test_a_large_sweep_needs_most():
    assert len(grid(BASE, most=20_000, seed=range(MOST_MEMBERS + 1))) == MOST_MEMBERS + 1
    with pytest.raises(LabError, match="11 members are more than 10"):
        sweep([BASE] * 11, most=10)
    assert len(sweep([BASE] * 11, most=11)) == 11


def test_the_estimate_grows_with_members_steps_and_weights():
    one = estimate(BASE, 1000)
    assert estimate(BASE, 2000).memory == 2 * one.memory
    assert estimate(BASE.replace(steps=80), 1000).memory > one.memory
    assert estimate(BASE.replace(hidden=(64, 64)), 1000).memory > 10 * one.memory
    assert one.seconds > 0
    assert estimate(BASE.replace(optimizer="lbfgs"), 10).seconds > 0


def test_no_recipe():
    with pytest.raises(RecipeError, match="at least one recipe"):
        sweep([])


MIXED = [
    BASE,
    BASE.replace(optimizer="lbfgs", batch_size=500, lr=1.0),
    BASE.replace(hidden=(8, 8)),
    BASE.replace(task="regression"),
    BASE.replace(seed=5),
    BASE.replace(optimizer="muon"),
    BASE.replace(steps=20),
    BASE,
]


def test_any_list_works_and_comes_back_in_its_order():
    result = sweep(MIXED)
    assert result.recipes == MIXED
    for recipe, history in zip(MIXED, result.histories, strict=True):
        assert history.about["recipe"] == recipe.model_dump()
        wanted = fit(recipe).flat()
        assert np.linalg.norm(history.flat() - wanted) <= 1e-5 * np.linalg.norm(wanted)


def test_progress_reaches_the_end_and_never_goes_back():
    seen: list[tuple[int, int]] = []
    sweep(MIXED, progress=lambda done, total: seen.append((done, total)))
    total = sum(recipe.steps for recipe in MIXED)
    assert {all_steps for _, all_steps in seen} == {total}
    done = [steps for steps, _ in seen]
    assert done == sorted(done)
    assert done[-1] == total
    assert len(done) > 4


def test_the_progress_callback_may_end_it():
    class EnoughError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        sweep([BASE] * 3, progress=stop)


def test_values_labels_and_table():
    recipes = grid(BASE, lr=[0.01, 0.1])
    recipes.append(
        BASE.replace(optimizer="sgd", lr=10.0, activation="identity", steps=40, hidden=(8, 8))
    )
    result = sweep(recipes)
    assert len(result) == 3
    values = result.values("val_loss")
    for value, history in zip(values[:2], result.histories, strict=False):
        assert value == history.curve("val_loss")[1][-1]
    assert result.histories[2].finding is not None, "the test needs one that diverges"
    assert np.isnan(values[2])
    rows = result.table()
    assert [row["member"] for row in rows] == result.labels
    assert rows[0]["val_accuracy"] == result.histories[0].summary()["val_accuracy"]
    assert "finding" in rows[2]
