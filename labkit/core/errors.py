"""Errors that speak to the person who made the slip."""

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
    """One sentence for a name that is not among `known`, with the nearest match first."""
    known = list(known)
    guess = nearest(name, known)
    hint = f" did you mean {guess!r}?" if guess else ""
    return f"{field}={name!r} is not known:{hint} Choose from {', '.join(known)}."
