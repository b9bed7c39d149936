"""What a notebook found: a small table for its reader, JSON for a batch."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.files import write_atomically

RESULTS = "LABKIT_RESULTS"


class Table:
    """Rows of plain values that show as a table in a notebook and as text elsewhere."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = [dict(row) for row in rows]
        self.columns = list(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        return len(self.rows)

    def _cells(self) -> list[list[str]]:
        return [[show(row.get(name, "")) for name in self.columns] for row in self.rows]

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{html.escape(c)}</th>" for c in self.columns)
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        rows = [self.columns, *self._cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def show(value: Any) -> str:
    """A value as a reader wants to see it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def report(**values: Any) -> Table:
    """Report results by name: shown as a table, and kept where a batch asked for them.

    A batch names a JSON file in the environment variable `LABKIT_RESULTS`; results of
    several calls are merged there, later ones win, and the file is never half-written.

    Args:
        values: JSON values; numpy and torch scalars are taken as plain numbers.

    Raises:
        LabError: a value that JSON cannot hold, by its name.
    """
    plain = {name: _plain(name, value) for name, value in values.items()}
    if path := os.environ.get(RESULTS):
        file = Path(path)
        known = json.loads(file.read_text()) if file.exists() else {}
        write_atomically(file, json.dumps(known | plain, indent=2))
    return Table({"result": name, "value": value} for name, value in plain.items())


def _plain(name: str, value: Any) -> Any:
    """A JSON value; NaN and infinities, which JSON lacks, become text."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", item) for key, item in value.items()}
    if hasattr(value, "tolist") or (isinstance(value, Sequence) and not isinstance(value, bytes)):
        items = value.tolist() if hasattr(value, "tolist") else value
        return [_plain(f"{name}[{i}]", item) for i, item in enumerate(items)]
    raise LabError(f"{name} cannot be reported: {type(value).__name__} is not a JSON value")
