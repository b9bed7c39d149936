from __future__ import annotations

import json
import math

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.batch.parameters import NotebookParameter, check_parameters, read_parameters
from labkit.errors import FileError, LabError


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook with these `parameters` cells and give its path."""

    def write(*sources: str):
        path = tmp_path / "notebook.ipynb"
        cells = [new_code_cell(source, metadata={"tags": ["parameters"]}) for source in sources]
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Title"), *cells]), path)
        return path

    return write


def defaults(path) -> dict[str, object]:
    return {name: parameter.default for name, parameter in read_parameters(path).items()}


# --- what a parameters cell says -------------------------------------------------------


def test_assignments_are_read_as_python_in_their_order(notebook):
    path = notebook(
        """
# a comment = nothing
interactive = True
text = "a = b"  # x = 3
other = 'it\\'s = "quoted"; import os'
longer = (
    "two "
    "parts"
)
lr: float = 1e-3
hidden: list[int] = [8, 8]
nothing = None
negative = -3; positive = +2
nested = {"a": [1, {"b": "="}]}
unicode = "λ = 0.1"
"""
    )
    assert defaults(path) == {
        "interactive": True,
        "text": "a = b",
        "other": 'it\'s = "quoted"; import os',
        "longer": "two parts",
        "lr": 0.001,
        "hidden": [8, 8],
        "nothing": None,
        "negative": -3,
        "positive": 2,
        "nested": {"a": [1, {"b": "="}]},
        "unicode": "λ = 0.1",
    }
    assert list(defaults(path))[:2] == ["interactive", "text"]


def test_the_last_assignment_counts_as_in_python(notebook):
    assert defaults(notebook("x = 1\nx = 2")) == {"x": 2}


def test_an_empty_cell_has_no_parameters(notebook):
    assert defaults(notebook("# nothing to choose")) == {}


@pytest.mark.parametrize("sources", [[], ["x = 1", "y = 2"]], ids=["none", "two"])
def test_there_is_one_parameters_cell(sources, notebook):
    path = notebook(*sources)
    with pytest.raises(FileError, match=f"{path} has {len(sources)} cells tagged 'parameters'"):
        read_parameters(path)


def test_a_tag_on_text_is_not_a_cell_of_parameters(tmp_path):
    path = tmp_path / "a.ipynb"
    cell = new_markdown_cell("x = 1", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell]), path)
    with pytest.raises(FileError, match="has 0 cells"):
        read_parameters(path)


@pytest.mark.parametrize(
    "source",
    [
        "x = y",
        "x = open('/etc/passwd').read()",
        "x = __import__('os').system('true')",
        "x = [i for i in range(3)]",
        "x = f'{1}'",
        "x += 1",
        "x = y = 1",
        "x, y = 1, 2",
        "x.a = 1",
        "x[0] = 1",
        "x: int",
        "import os",
        "print('hello')",
        "'a string alone'",
        "%matplotlib inline",
        "x = ",
        "x = 1e999",
        "x = 1j",
        "x = b'bytes'",
        "x = {1, 2}",
        "x = (8, 8)",
        "x = {'not a name': 1}",
        "x = {1: 2}",
        "if True:\n    x = 1",
    ],
)
def test_a_parameters_cell_assigns_plain_values_only(source, notebook):
    path = notebook(f"first = 1\n{source}")
    with pytest.raises(FileError, match=f"{path}: its parameters cell must assign plain values"):
        read_parameters(path)


NO_NOTEBOOKS = {
    "empty": b"",
    "text": b"hello",
    "binary": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "an object": b"{}",
    "no cells": b'{"nbformat": 4}',
    "cells that are none": b'{"nbformat": 4, "nbformat_minor": 5, "cells": 3, "metadata": {}}',
    "a cell without source": (
        b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}'
    ),
    "from the future": b'{"nbformat": 99, "nbformat_minor": 0, "cells": [], "metadata": {}}',
    "cut short": json.dumps(new_notebook(cells=[new_code_cell("x = 1")])).encode()[:-20],
    "very deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_what_is_no_notebook_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "notebook.ipynb"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"is not a notebook: .+") as refused:
        read_parameters(path)
    assert str(refused.value).startswith(str(path))
    assert len(str(refused.value).splitlines()) == 1
    assert "object has no attribute" not in str(refused.value)


@pytest.mark.parametrize("name", ["missing.ipynb", "."])
def test_a_missing_notebook_is_named(name, tmp_path):
    with pytest.raises(FileError, match="is not there"):
        read_parameters(tmp_path / name)


# --- what may replace the defaults -----------------------------------------------------

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
    }.items()
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
        ("places", {"a b": 1}, "keys must be plain names"),
        ("places", {1: 1}, "keys must be plain names"),
        ("places", '{"a": {"b;c": 1}}', "keys must be plain names"),
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
