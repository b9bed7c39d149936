"""The parameters of a notebook: what its `parameters` cell assigns, and what may replace it.

Only JSON values and known identifiers reach papermill, which writes them into code.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from labkit.errors import FileError, LabError, RecipeError, nearest


@dataclass(frozen=True)
class NotebookParameter:
    """One assignment in the `parameters` cell: a name and its default, a JSON value."""

    name: str
    default: Any


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read and validate a notebook.

    Raises:
        FileError: it is not there, or is not a notebook.
    """
    if not path.is_file():
        raise FileError(f"{path} is not there")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (AttributeError, KeyError, TypeError, RecursionError):
        raise FileError(f"{path} is not a notebook: it is JSON of another shape") from None
    except (OSError, ValueError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(f"{path} is not a notebook: {reason}") from None
    return notebook


def read_parameters(path: Path) -> dict[str, NotebookParameter]:
    """The parameters of a notebook by name, in the order of its `parameters` cell.

    Annotated assignments count, and values are read as Python literals, not by their
    look, so that a default may hold any character.

    Raises:
        FileError: not a notebook, no cell tagged `parameters`, or one that holds
            something else than assignments of literals.
    """
    cells = [
        cell
        for cell in read_notebook(path).cells
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise FileError(f"{path} has {len(cells)} cells tagged 'parameters'; it needs one")
    found = {}
    try:
        for statement in ast.parse(cells[0].source).body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target, value = statement.targets[0], statement.value
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                target, value = statement.target, statement.value
            else:
                raise ValueError(f"line {statement.lineno} is not an assignment")
            if not isinstance(target, ast.Name):
                raise ValueError(f"line {statement.lineno} assigns to no plain name")
            default = ast.literal_eval(value)
            _check_json(target.id, default)
            found[target.id] = NotebookParameter(target.id, default)
    except (SyntaxError, ValueError) as error:
        raise FileError(
            f"{path}: its parameters cell must assign plain values only: {error}"
        ) from None
    return found


def check_parameters(
    known: Mapping[str, NotebookParameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values to run with: known names, JSON values, and what a Recipe would accept.

    A value given as text (from a command line) is read as the type of the default.
    Names that are fields of a `Recipe` are checked as one.

    Raises:
        LabError: everything that is wrong, one line each.
    """
    problems, values = [], {}
    for name, value in given.items():
        if name not in known:
            guess = nearest(name, known)
            hint = f" did you mean {guess!r}?" if guess else ""
            problems.append(
                f"{name!r} is not a parameter of this notebook:{hint} Known: {', '.join(known)}."
            )
            continue
        try:
            values[name] = _typed(name, value, known[name].default)
        except LabError as error:
            problems.append(str(error))
    defaults = {name: parameter.default for name, parameter in known.items()}
    problems += _refused_by_recipe({**defaults, **values})
    if problems:
        raise LabError("\n".join(problems))
    return values


def _typed(name: str, value: Any, default: Any) -> Any:
    """`value` as a JSON value of the default's type.

    Raises:
        LabError: it cannot be one.
    """
    wanted = type(default)
    if isinstance(value, str) and wanted is not str:
        try:
            value = json.loads(value)
        except ValueError:
            if wanted is list and re.fullmatch(r"[0-9]{1,9}([,-][0-9]{1,9})*", value):
                value = [int(part) for part in re.split("[,-]", value)]
            elif default is not None:
                raise LabError(f"{name}={value!r} is not allowed: give {_kind(default)}") from None
    if wanted is float and type(value) is int:
        value = _float(value)
    if wanted is list and type(value) is int:
        value = [value]
    if default is not None and type(value) is not wanted:
        raise LabError(f"{name}={value!r} is not allowed: give {_kind(default)}")
    _check_json(name, value)
    return value


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _check_json(name: str, value: Any) -> None:
    """Refuse what is not JSON, subclasses included: their text could be anything."""
    kind = type(value)
    if kind is float and not math.isfinite(value):
        raise LabError(f"{name}={value!r} is not allowed: give a finite number")
    if kind is list:
        for i, item in enumerate(value):
            _check_json(f"{name}[{i}]", item)
    elif kind is dict:
        for key, item in value.items():
            if not (type(key) is str and key.isidentifier()):
                raise LabError(f"{name} has the key {key!r}: keys must be plain names")
            _check_json(f"{name}.{key}", item)
    elif value is not None and kind not in (bool, int, float, str):
        raise LabError(f"{name}={value!r} is not allowed: {kind.__name__} is not JSON")


def _kind(default: Any) -> str:
    kinds = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "names with values",
    }
    return f"{kinds[type(default)]} such as {json.dumps(default)}"


def _refused_by_recipe(values: Mapping[str, Any]) -> list[str]:
    from labkit.recipe import Recipe

    fields = {name: values[name] for name in Recipe.model_fields if name in values}
    try:
        Recipe(**{n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()})
    except RecipeError as error:
        return str(error).splitlines()
    return []
