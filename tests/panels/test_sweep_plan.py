from __future__ import annotations

import itertools

import numpy as np
import pytest

from labkit.core.errors import LabError, RecipeError
from labkit.panels.sweep_plan import ROWS, Plan, read_rates, read_values, spell_all
from labkit.recipe.recipe import Recipe


@pytest.mark.parametrize("field", ROWS)
def test_what_is_offered_can_be_swept_typed_and_read(field):
    plan = Plan.of(Recipe(), field, ROWS[field], [0.01, 0.1])
    wanted = list(itertools.product(ROWS[field], [0.01, 0.1]))
    assert [(getattr(r, field), r.lr) for r in plan.recipes] == wanted
    assert read_values(field, spell_all(ROWS[field])) == list(ROWS[field])
    assert [plan.place(*cell) for cell in wanted] == list(range(len(wanted)))
    assert len(set(plan.names)) == len(wanted)


def test_the_same_twice_is_one():
    plan = Plan.of(Recipe(), "init", ["zeros", "zeros", "lsuv"], [0.1, 0.1])
    assert (plan.values, plan.lrs, len(plan.recipes)) == (["zeros", "lsuv"], [0.1], 2)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0.1, 0.01;1 1e-3", [0.1, 0.01, 1.0, 0.001]),
        ("1e-3:1:log:4", [0.001, 0.01, 0.1, 1.0]),
        ("1e-3:1:log:7", [float(f"{rate:.2g}") for rate in np.geomspace(1e-3, 1, 7)]),
    ],
)
def test_learning_rates_are_numbers_and_ranges(text, rates):
    assert read_rates(text) == pytest.approx(list(rates))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0.001 to 1 in 7", "write 0.001:1:log:7"),
        ("0.1, fast", "1e-3:1e-1:log:5"),
        ("", "no values"),
        ("0:1:log:3", "above 0"),
    ],
)
def test_other_spellings_are_answered_with_the_right_one(text, part):
    with pytest.raises(LabError, match=part):
        read_rates(text)


@pytest.mark.parametrize(("cell", "part"), [(("ones", 0.1), "zeros"), (("zeros", 0.2), "0.1")])
def test_a_cell_that_is_not_there_is_explained(cell, part):
    with pytest.raises(RecipeError, match=part):
        Plan.of(Recipe(), "init", ["zeros"], [0.1]).place(*cell)


@pytest.mark.parametrize("field", ["lr", "optimiser"])
def test_rows_are_fields_of_a_recipe_but_the_learning_rate(field):
    with pytest.raises(RecipeError, match="optimizer"):
        Plan.of(Recipe(), field, [1], [0.1])
