"""Errors whose messages say what was wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LabError(ValueError):
    """A user's mistake: says what was wrong, where, and what would be right.

    In a notebook it shows as its message alone: IPython asks an exception for
    `_render_traceback_` before it formats a traceback of its own.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class RecipeError(LabError):
    """A recipe was given an unknown field, an impossible value or a bad combination."""


class FileError(LabError):
    """A file labkit was asked to read is missing, cut short, or not what its name says."""


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where nothing is near."""
    found = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(field: str, name: object, known: Iterable[str]) -> str:
    """What to say of a field's value that is not among `known`."""
    known = list(known)
    options = f"Choose from {', '.join(known)}."
    return misnamed(f"{field}={name!r} is not known", name, known, options=options)


def misnamed(problem: str, name: object, known: Iterable[str], *, options: str = "") -> str:
    """What to say of any name that is not among `known`, with the nearest match first.

    Args:
        problem: what is wrong, without a full stop (`"lrr is not a field"`).
        name: what was given.
        known: what would be right.
        options: the sentence that lists it; by default `Known: a, b.`
    """
    known = list(known)
    guess = nearest(name, known)
    first = f"{problem}: did you mean {guess!r}?" if guess else f"{problem}."
    return f"{first} {options or 'Known: ' + (', '.join(known) or 'none') + '.'}"
