"""The parameters of a notebook, and what may replace their defaults.

Only JSON values and known identifiers reach papermill, which writes them into code.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from labkit.core.errors import LabError, RecipeError, misnamed

if TYPE_CHECKING:
    from pydantic import BaseModel

DEEPEST = 50  # levels of lists in lists; Python itself reads 200 brackets at most
LONGEST = 80  # characters of a value in a message


class _Unknown:
    """A default that only running the notebook would show: `path = Path("x")`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class NotebookParameter:
    """One variable that the `parameters` cell assigns.

    Attributes:
        name: the variable's.
        default: a JSON value, or `UNKNOWN`.
        annotated: the JSON types that its annotation allows; None where it has none.
        items: the type of a list's items, where it is known.
    """

    name: str
    default: Any = UNKNOWN
    annotated: frozenset[type] | None = None
    items: type | None = None

    @property
    def types(self) -> frozenset[type]:
        """The JSON types that may replace the default; empty where any may."""
        if self.annotated is not None:
            return self.annotated
        free = self.default is None or self.default is UNKNOWN
        return frozenset() if free else frozenset({type(self.default)})

    @property
    def wanted(self) -> str:
        """What to give, for a message: `a whole number such as 100`."""
        kinds = " or ".join(words for kind, words in KINDS.items() if kind in self.types)
        if self.default is UNKNOWN:
            return kinds or "a JSON value"
        example = f"{kinds or 'a JSON value'} such as {_shown(self.default, json.dumps)}"
        if self.types == {int}:
            return f"{example} (fractions too where the notebook says {self.name}: float = …)"
        return example


KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "names with values",
    type(None): "null",
}


def check_parameters(
    known: Mapping[str, NotebookParameter],
    given: Mapping[str, Any],
    *,
    text: bool = True,
    recipe: bool = True,
) -> dict[str, Any]:
    """The values to run with: known names, JSON values, and what a Recipe would accept.

    Args:
        known: the notebook's parameters.
        given: what replaces their defaults.
        text: values given as text are read as the type of the default.
        recipe: names that are fields of a `Recipe` are checked as one (or of a `FineTune`,
            where that has more of the notebook's parameters). This holds where the notebook's
            own defaults make a recipe; another may call anything `optimizer`.

    Raises:
        LabError: everything that is wrong, one line each.
    """
    problems, values = [], {}
    for name, value in given.items():
        if name not in known:
            problems.append(unknown_parameter(name, known))
            continue
        try:
            values[name] = typed(known[name], value, text=text)
        except LabError as error:
            problems.append(str(error))
    if recipe and values:
        problems += _refused_by_recipe(known, values)
    if problems:
        raise LabError("\n".join(problems))
    return values


def unknown_parameter(name: Any, known: Mapping[str, Any], owner: str = "this notebook") -> str:
    """One sentence for a name that is no parameter of `owner`."""
    return misnamed(f"{_shown(name)} is not a parameter of {owner}", name, known)


def typed(parameter: NotebookParameter, value: Any, *, text: bool = True) -> Any:
    """`value` as a JSON value that may stand for the parameter's default.

    Raises:
        LabError: it cannot be one.
    """
    types = parameter.types
    if text and type(value) is str:
        value = from_text(parameter, value)
    if type(value) is int and float in types and int not in types:
        value = _float(value)
    if type(value) is int and types == {list}:
        value = [value]
    if types and type(value) not in types:
        raise _refused(parameter, value)
    check_json(parameter.name, value)
    return value


WORDS: Final[dict[str, Any]] = {"True": True, "False": False, "None": None}


def from_text(parameter: NotebookParameter, text: str) -> Any:
    """Text from a command line as a value of the parameter's type, JSON where it is not text.

    Lists may be written without brackets: `8,8`, `8, 8`.

    Raises:
        LabError: it is no such value.
    """
    types = parameter.types
    if types == {str}:
        return text
    if type(None) in types and text in ("null", "None"):
        return None
    if list in types and types <= {list, type(None)} and (items := _listed(parameter, text)):
        return items
    try:
        value = WORDS[text] if text in WORDS else json.loads(text)
    except (ValueError, RecursionError):
        if not types or str in types:
            return text
        raise _refused(parameter, text) from None
    return text if str in types and type(value) not in types else value


def _listed(parameter: NotebookParameter, text: str) -> list[Any] | None:
    parts = [part.strip() for part in text.split(",")]
    if parameter.items is str and all(parts) and not text.startswith("["):
        return parts
    if parameter.items is float:
        try:
            return [float(part) for part in parts]
        except ValueError:
            return None
    if re.fullmatch(r"\s*[0-9]{1,9}(\s*[,-]\s*[0-9]{1,9})*\s*", text):
        return [int(part) for part in re.split("[,-]", text)]
    return None


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _refused(parameter: NotebookParameter, value: Any) -> LabError:
    return LabError(f"{parameter.name}={_shown(value)} is not allowed: give {parameter.wanted}")


def _shown(value: Any, write: Any = repr) -> str:
    """A value for a message: on one line, and not longer than a message may be."""
    try:
        text = str(write(value))
    except (ValueError, RecursionError):  # a whole number of thousands of digits
        return f"({type(value).__name__})"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def check_json(name: str, value: Any, depth: int = 0) -> None:
    """Refuse what is not JSON, subclasses included: their text could be anything."""
    kind = type(value)
    if depth > DEEPEST:
        raise LabError(f"{name[:LONGEST]}… is not allowed: it is nested deeper than {DEEPEST}")
    if kind is float and not math.isfinite(value):
        raise LabError(f"{name}={value!r} is not allowed: give a finite number")
    if kind is int and math.isinf(_float(value)):
        raise LabError(f"{name} is not allowed: a whole number with too many digits")
    if kind is str:
        _check_text(name, value)
    elif kind is list:
        for i, item in enumerate(value):
            check_json(f"{name}[{i}]", item, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise LabError(f"{name} has the key {_shown(key)}: JSON's keys are text")
            _check_text(name, key)
            check_json(f"{name}.{key}", item, depth + 1)
    elif value is not None and kind not in (bool, int, float):
        raise LabError(f"{name}={_shown(value)} is not allowed: {kind.__name__} is not JSON")


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LabError(
            f"{name}={_shown(text)} is not allowed: it holds half a character (a surrogate)"
        ) from None


def _refused_by_recipe(
    known: Mapping[str, NotebookParameter], values: Mapping[str, Any]
) -> list[str]:
    """Why a Recipe, or a FineTune, refuses the values, where it accepts the defaults."""
    model = _described(known)
    fields = [name for name in model.model_fields if name in known]
    if not any(name in values for name in fields):
        return []
    defaults = {n: known[n].default for n in fields if known[n].default is not UNKNOWN}
    if _complaints(model, defaults):
        return []
    return _complaints(model, defaults | {name: values[name] for name in fields if name in values})


def _described(known: Mapping[str, NotebookParameter]) -> type[BaseModel]:
    """What a notebook describes: that of which its parameters name the most fields."""
    from labkit.recipe.recipe import Recipe
    from labkit.vision.finetuning.spec import FineTune

    return max((Recipe, FineTune), key=lambda model: len(model.model_fields.keys() & known.keys()))


def _complaints(model: type[BaseModel], fields: Mapping[str, Any]) -> list[str]:
    try:
        model(**{n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()})
    except RecipeError as error:
        return str(error).splitlines()
    return []
