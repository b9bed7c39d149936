"""The values to try of one parameter: from a text such as `1e-3:1e-1:log:5`, or a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from labkit.batch.parameters import NotebookParameter, from_text
from labkit.core.errors import LabError
from labkit.core.ranges import Range

MOST_RUNS = 10_000  # more than that need `most` to say that they are meant


def check_size(runs: int, most: int) -> None:
    """Refuse a grid that is probably a mistake.

    Raises:
        LabError: more than `most` runs.
    """
    if runs > most:
        raise LabError(
            f"{runs:,} runs are more than {most:,}: give fewer values, "
            f"or most={runs} (--most {runs}) if you mean it"
        )


def from_texts(
    parameter: NotebookParameter, texts: Sequence[str], most: int = MOST_RUNS
) -> list[Any]:
    """The values of `-p NAME=TEXT`, given once or repeatedly.

    Values stand between commas, for a parameter that is a list between semicolons; numbers
    also as a range, `from:to:log:count` or `from:to:lin:count`. JSON does as well, where a
    value holds these characters: `["a,b", "c"]`, `"a,b"`, `[[8, 8], [16]]`.

    Raises:
        LabError: what cannot be read, or a range that makes no sense.
    """
    found = [value for text in texts for value in _from_text(parameter, text, most)]
    if not found:
        raise LabError(f"{parameter.name} has no values: give {parameter.wanted}")
    return found


def _from_text(parameter: NotebookParameter, text: str, most: int) -> list[Any]:
    types, whole = parameter.types, _json(text)
    if types & {list, dict}:
        if _is_several(parameter, whole):
            return list(whole)
        if list in types and whole is None and ";" in text:
            return [from_text(parameter, part) for part in _split(parameter, text, ";")]
        return [from_text(parameter, text)]
    if type(whole) is dict and str in types:
        return [text]
    if whole is not None:
        several = type(whole) is list if types else _is_several(parameter, whole)
        return list(whole) if several else [whole]
    return [
        value
        for part in _split(parameter, text, ",")
        for value in _range(parameter, part, most) or [from_text(parameter, part)]
    ]


def _json(text: str) -> Any:
    """What a JSON list, object or string says; None for all else."""
    try:
        return json.loads(text) if text.lstrip()[:1] in ("[", "{", '"') else None
    except (ValueError, RecursionError):
        return None


def _is_several(parameter: NotebookParameter, value: Any) -> bool:
    """Whether a list is one of values, not the value of a parameter that is a list itself."""
    if type(value) is not list or not value:
        return False
    if dict in parameter.types and list not in parameter.types:
        return all(type(item) is dict for item in value)
    deep = parameter.items is list
    return all(
        type(item) is list and (not deep or all(type(part) is list for part in item))
        for item in value
    )


def _split(parameter: NotebookParameter, text: str, separator: str) -> list[str]:
    parts = text.split(separator)
    if len(parts) == 1:
        return parts
    parts = [part.strip() for part in parts]
    if not all(parts):
        advice = f"{parameter.name}={text!r} is not allowed: there is an empty value beside "
        advice += f"a {separator!r}"
        if str in parameter.types or not parameter.types:
            as_one = json.dumps([text])
            advice += f" (where that is part of a text, write JSON: {parameter.name}={as_one})"
        raise LabError(advice)
    return parts


def _range(parameter: NotebookParameter, text: str, most: int) -> list[float] | None:
    """The numbers of `1e-3:1e-1:log:5`; None for what is no range."""
    types = parameter.types
    if types and not types & {int, float}:
        return None
    try:
        found = Range.read(text)
    except LabError as error:
        raise _refused(parameter, text, error) from None
    if found is not None:
        return _numbers(parameter, found, most)
    if ":" in text and types and str not in types:
        raise LabError(
            f"{parameter.name}={text!r} is no range: write "
            f"{parameter.name}=1e-3:1e-1:log:5 or {parameter.name}=0:1:lin:5"
        )
    return None


def _numbers(parameter: NotebookParameter, values: Range, most: int) -> list[float]:
    check_size(values.count, most)
    if float not in parameter.types and int in parameter.types:
        return [*values.whole_numbers()]
    return values.numbers()


def _refused(parameter: NotebookParameter, text: str, why: LabError) -> LabError:
    return LabError(f"{parameter.name}={text} is not allowed: {why}")


def from_value(parameter: NotebookParameter, value: Any, most: int = MOST_RUNS) -> list[Any]:
    """The values of a file's entry: one, a list of them, or `{from, to, log}`.

    Raises:
        LabError: what cannot be read, or a range that makes no sense.
    """
    types = parameter.types
    if isinstance(value, dict) and {"from", "to"} <= set(value) and dict not in types:
        scale = next((key for key in ("log", "lin") if key in value), None)
        if scale is None or len(value) > 3 or not (not types or types & {int, float}):
            raise LabError(
                f"{parameter.name}={value!r} is not allowed: a range is for numbers, "
                "{from: 1e-3, to: 1e-1, log: 5} or {from: 0, to: 1, lin: 5}"
            )
        start, stop, count = value["from"], value["to"], value[scale]
        try:
            found = Range.of(start, stop, "log" if scale == "log" else "lin", count)
        except LabError as error:
            text = f"{start}:{stop}:{scale}:{count}"
            raise _refused(parameter, text, error) from None
        return _numbers(parameter, found, most)
    listed = list in types or dict in types
    several = _is_several(parameter, value) if listed else isinstance(value, list)
    if several and not value:
        raise LabError(f"{parameter.name} has no values: give {parameter.wanted}")
    return [one_value(parameter, one) for one in (value if several else [value])]


def one_value(parameter: NotebookParameter, value: Any) -> Any:
    """One value of a file; a number may be text there, as `1e-3` is to YAML."""
    types = parameter.types
    if isinstance(value, str) and types and str not in types:
        return from_text(parameter, value)
    return value
