from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labkit.batch.parameters import (
    UNKNOWN,
    NotebookParameter,
    check_parameters,
)
from labkit.core.errors import LabError

ENDLESS: list = []
ENDLESS.append(ENDLESS)
KNOWN = {
    name: NotebookParameter(name, default)
    for name, default in {
        "interactive": True,
        "init": "kaiming_normal",
        "optimizer": "adam",
        "lr": 0.01,
        "hidden": [8, 8],
        "steps": 100,
        "seed": 0,
        "title": "a title",
        "nothing": None,
        "places": {"a": 1},
        "names": ["a", "b"],
        "rates": [0.1, 0.2],
        "anything": UNKNOWN,
    }.items()
}
ITEMS = {"names": str, "rates": float, "hidden": int}
KNOWN |= {name: replace(KNOWN[name], items=items) for name, items in ITEMS.items()}
KNOWN |= {
    "rate": NotebookParameter("rate", None, frozenset({float, type(None)})),
    "either": NotebookParameter("either", 1, frozenset({int, str})),
    "perhaps": NotebookParameter("perhaps", None, frozenset({list, type(None)}), str),
}


def check(**given):
    return check_parameters(KNOWN, given)


def refusal(**given) -> list[str]:
    with pytest.raises(LabError) as refused:
        check_parameters(KNOWN, given)
    return str(refused.value).splitlines()


def test_nothing_given_nothing_changed():
    assert check() == {}


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("interactive", False, False),
        ("interactive", "false", False),
        ("interactive", "true", True),
        ("lr", 0.5, 0.5),
        ("lr", "0.5", 0.5),
        ("lr", "5e-3", 0.005),
        ("lr", 1, 1.0),
        ("lr", "1", 1.0),
        ("steps", 7, 7),
        ("steps", "7", 7),
        ("hidden", [4], [4]),
        ("hidden", 4, [4]),
        ("hidden", "4", [4]),
        ("hidden", "4,5", [4, 5]),
        ("hidden", "4-5-6", [4, 5, 6]),
        ("hidden", "[4, 5]", [4, 5]),
        ("hidden", "[]", []),
        ("title", "3", "3"),
        ("title", "true", "true"),
        ("title", "", ""),
        ("title", "a = b", "a = b"),
        ("nothing", "text", "text"),
        ("nothing", "3", 3),
        ("nothing", None, None),
        ("places", '{"b": [1, null]}', {"b": [1, None]}),
        ("names", '["c"]', ["c"]),
        ("names", "c", ["c"]),
        ("names", "c,3", ["c", "3"]),
        ("rates", "0.1,2", [0.1, 2.0]),
        ("rates", "1", [1.0]),
        ("interactive", "False", False),
        ("places", {"not a name": {"": 1}}, {"not a name": {"": 1}}),
        ("anything", "text", "text"),
        ("anything", "[1, 2]", [1, 2]),
        ("anything", "None", None),
        ("rate", 1, 1.0),
        ("rate", "1", 1.0),
        ("rate", "null", None),
        ("either", "3", 3),
        ("either", "three", "three"),
        ("either", "[3]", "[3]"),
        ("perhaps", "a,b", ["a", "b"]),
        ("perhaps", "None", None),
    ],
)
def test_values_and_text_are_read_as_the_type_of_the_default(name, given, taken):
    values = check(**{name: given})
    assert values == {name: taken}
    assert type(values[name]) is type(taken)


@pytest.mark.parametrize(
    ("name", "given", "advice"),
    [
        ("interactive", "yes", "give true or false such as true"),
        ("interactive", 1, "give true or false such as true"),
        ("interactive", None, "give true or false such as true"),
        ("lr", "fast", "give a number such as 0.01"),
        ("lr", True, "give a number such as 0.01"),
        ("lr", "true", "give a number such as 0.01"),
        ("lr", [0.1], "give a number such as 0.01"),
        ("lr", np.float64(0.1), "give a number such as 0.01"),
        ("lr", "NaN", "give a finite number"),
        ("lr", "-Infinity", "give a finite number"),
        ("lr", "1e999", "give a finite number"),
        ("lr", 10**400, "give a finite number"),
        ("lr", math.inf, "give a finite number"),
        ("steps", "1.5", "give a whole number such as 100"),
        ("steps", 2.0, "give a whole number such as 100"),
        ("steps", "9" * 5000, "give a whole number such as 100"),
        ("steps", "", "give a whole number such as 100"),
        ("hidden", "8,x", r"give a list such as [8, 8]"),
        ("hidden", "8,,8", r"give a list such as [8, 8]"),
        ("hidden", "8,-8", r"give a list such as [8, 8]"),
        ("hidden", "²", r"give a list such as [8, 8]"),
        ("hidden", "", r"give a list such as [8, 8]"),
        ("hidden", (8, 8), r"give a list such as [8, 8]"),
        ("hidden", "{}", r"give a list such as [8, 8]"),
        ("title", 3, 'give text such as "a title"'),
        ("title", None, 'give text such as "a title"'),
        ("nothing", {1, 2}, "set is not JSON"),
        ("nothing", b"x", "bytes is not JSON"),
        ("nothing", [[math.nan]], "give a finite number"),
        ("names", [object()], "object is not JSON"),
        ("places", {1: 1}, "JSON's keys are text"),
        ("places", {"a": {None: 1}}, "JSON's keys are text"),
        ("places", {"\ud800": 1}, "half a character"),
        ("title", "\udcff", "half a character"),
        ("steps", 10**400, "a whole number with too many digits"),
        pytest.param("steps", 10**5000, "a whole number with too many digits", id="thousands"),
        ("nothing", "[" * 60 + "]" * 60, "nested deeper than 50"),
        ("nothing", ENDLESS, "nested deeper than 50"),
        ("anything", {1, 2}, "set is not JSON"),
        ("rate", "1,x", "give a number or null"),
        ("rate", "true", "give a number or null"),
    ],
)
def test_a_value_of_another_type_is_refused_with_an_example(name, given, advice):
    (line,) = refusal(**{name: given})
    assert line.startswith(name)
    assert advice in line


@pytest.mark.parametrize(
    ("given", "guess"), [("stepz", "steps"), ("Lr", "lr"), ("optimiser", "optimizer")]
)
def test_an_unknown_name_lists_the_known_ones_and_the_nearest(given, guess):
    (line,) = refusal(**{given: 1})
    assert line == (
        f"{given!r} is not a parameter of this notebook: did you mean {guess!r}? "
        f"Known: {', '.join(KNOWN)}."
    )


def test_nothing_is_guessed_where_nothing_is_near():
    (line,) = refusal(xyzzy=1)
    assert "did you mean" not in line


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"init": "kaiming"}, ["init='kaiming' is not known", "'kaiming_normal'"]),
        ({"lr": 100.0}, ["lr=100.0 is not allowed", "from 1e-05 to 10"]),
        ({"hidden": [0]}, ["hidden=0 is not allowed"]),
        ({"seed": -1}, ["seed=-1 is not allowed"]),
    ],
)
def test_names_of_a_recipe_are_checked_as_one(given, parts):
    (line,) = refusal(**given)
    for part in parts:
        assert part in line


def test_everything_that_is_wrong_is_said_at_once():
    lines = refusal(stepz=3, interactive="perhaps", lr=100, optimizer="adamm", title=3)
    assert [line.split("=")[0].split(" ")[0] for line in lines] == [
        "'stepz'",
        "interactive",
        "title",
        "optimizer",
        "lr",
    ]


def test_a_combination_that_cannot_work_is_refused():
    known = {**KNOWN, "network": NotebookParameter("network", "mlp")}
    with pytest.raises(LabError, match="needs pictures"):
        check_parameters(known, {"network": "cnn"})


def test_names_that_are_no_fields_of_a_recipe_are_left_alone():
    known = {"weight": NotebookParameter("weight", 0.0)}
    assert check_parameters(known, {"weight": 1e9}) == {"weight": 1e9}


def test_defaults_that_are_no_recipe_ask_for_none():
    """A notebook that calls something else `optimizer` is not checked as a recipe."""
    known = {
        "optimizer": NotebookParameter("optimizer", "lion"),
        "lr": NotebookParameter("lr", 0.1),
    }
    given = {"optimizer": "shampoo", "lr": 1e6}
    assert check_parameters(known, given) == given
    known["optimizer"] = NotebookParameter("optimizer", "adam")
    with pytest.raises(LabError, match="'shampoo' is not known"):
        check_parameters(known, given)
    assert check_parameters(known, given, recipe=False) == given


def test_values_may_be_taken_as_they_are():
    known = {"x": NotebookParameter("x", None), "n": NotebookParameter("n", 1)}
    assert check_parameters(known, {"x": "3"}, text=False) == {"x": "3"}
    with pytest.raises(LabError, match="n='3' is not allowed: give a whole number"):
        check_parameters(known, {"n": "3"}, text=False)


def test_a_message_is_not_as_long_as_its_value():
    with pytest.raises(LabError) as refused:
        check(steps="x" * 10**6)
    assert len(str(refused.value)) < 400


def test_a_notebook_that_describes_a_fine_tuning_is_checked_as_one():
    known = {
        name: NotebookParameter(name, default)
        for name, default in {
            "data": "cells",
            "epochs": 8,
            "optimizer": "adamw",
            "lr": 0.002,
        }.items()
    }
    given = {"optimizer": "auto", "epochs": 2}
    assert check_parameters(known, given) == given
    for slip, part in (({"epochs": 0}, "epochs=0"), ({"optimizer": "lion"}, "auto")):
        with pytest.raises(LabError, match=part):
            check_parameters(known, slip)
