"""labkit's docstrings describe what belongs together once (`x1, x2: the inputs`); griffe wants
a line each, and only then notices an argument that does not exist.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ITEM = re.compile(r"^    ((?:\*{0,2}\w+, )+\*{0,2}\w+):((?:.|\n(?=     ))*)", re.MULTILINE)


def ungrouped(text: str) -> str:
    """A docstring with a line for each argument or attribute."""

    def apart(match: re.Match[str]) -> str:
        return "\n".join(f"    {name}:{match[2]}" for name in match[1].split(", "))

    return ITEM.sub(apart, text)


class Grouped(griffe.Extension):
    """Takes grouped arguments and attributes apart before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object once it is read."""
        if obj.docstring:
            obj.docstring.value = ungrouped(obj.docstring.value)
