"""What a weight file says about itself, in any format: untrusted input.

Nothing here is executed or built; what is not plain data is left out.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from labkit.core.errors import LabError
from labkit.weights.architecture import checked, name_of

# The most of a text, of a text that is opened, of items in all, of lists within lists.
TEXT, OPENED, ITEMS, DEPTH = 20_000, 500_000, 50_000, 8
FIELDS = ("architecture", "task", "date")


def fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Weights` that the metadata of a file fills; everything else is `about`.

    Args:
        metadata: names to values as the format holds them: JSON text is read where a mapping
            is expected.
    """
    rest = dict(metadata)
    found: dict[str, Any] = {name: _text(rest.pop(name, None)) for name in FIELDS}
    found["names"] = _names(rest.pop("names", None))
    arguments = plain(_opened(rest.pop("train_args", None)))
    found["train_args"] = arguments if isinstance(arguments, dict) else {}
    described = _opened(rest.pop("yaml", None))
    if described is not None:
        try:
            found["yaml"] = checked(described)
            found["architecture"] = found["architecture"] or name_of(found["yaml"])
        except LabError as error:
            found["yaml_problem"] = str(error)
    found["about"] = {
        str(name)[:200]: value
        for name, value in ((name, plain(value)) for name, value in rest.items())
        if value not in (None, "", [], {})
    }
    return {name: value for name, value in found.items() if value is not None}


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _opened(value: Any) -> Any:
    """A mapping or list that a format keeps as text: JSON, or a Python literal."""
    if not isinstance(value, str):
        return value
    if len(value) > OPENED:
        return None
    readers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for reader in readers:
        try:
            return reader(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _names(value: Any) -> dict[int, str]:
    """Class names by index, from a list or from a mapping with indices as keys."""
    value = _opened(value)
    pairs = enumerate(value) if isinstance(value, (list, tuple)) else None
    if isinstance(value, Mapping):
        pairs = value.items()  # type: ignore[assignment]
    names = {}
    for index, name in list(pairs or ())[:ITEMS]:
        try:
            names[int(index)] = str(name)[:200]
        except (TypeError, ValueError):
            return {}
    return names


def printable(text: object, most: int = 200) -> str:
    """One line that a terminal shows as it is: a file may hold control codes."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def plain(value: Any, resolve: Callable[[Any], Any] = lambda value: None) -> Any:
    """A JSON value, or None where there is none: JSON has no NaN, and only text as keys.

    Args:
        value: anything.
        resolve: gives something plainer for what is not a JSON value, or None.
    """
    return _plain(value, resolve, DEPTH, [ITEMS])


def _plain(value: Any, resolve: Callable[[Any], Any], depth: int, left: list[int]) -> Any:
    # Parts may be shared a thousandfold at every depth: they are counted as they unfold.
    left[0] -= 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value[:TEXT]
    if not depth or left[0] < 0:
        return None
    if isinstance(value, Mapping):
        items = itertools.islice(value.items(), left[0])
        return {str(k)[:200]: _plain(v, resolve, depth - 1, left) for k, v in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = itertools.islice(value, left[0])
        return [_plain(part, resolve, depth - 1, left) for part in parts]
    return _plain(resolve(value), resolve, depth - 1, left)
