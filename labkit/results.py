"""What a notebook found: a small table for its reader, JSON for a batch."""

from __future__ import annotations

import html
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from labkit.errors import LabError
from labkit.files import write_atomically

if TYPE_CHECKING:
    from labkit.history import History

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
    Curves of histories are kept beside it in `curves.json`, thinned.

    Args:
        values: JSON values; numpy and torch scalars are taken as plain numbers. A
            `History`, also in a list or a dict (a race's `histories`), becomes a few
            words, and its losses and accuracies become curves.

    Raises:
        LabError: a value that JSON cannot hold, by its name.
    """
    curves: dict[str, Any] = {}
    plain = {name: _plain(name, value, curves) for name, value in values.items()}
    if path := os.environ.get(RESULTS):
        if curves:
            from labkit.curves import FILE

            _merge(Path(path).with_name(FILE), curves)
        _merge(Path(path), plain, indent=2)
    return Table({"result": name, "value": value} for name, value in plain.items())


def _merge(file: Path, values: Mapping[str, Any], indent: int | None = None) -> None:
    known = json.loads(file.read_text()) if file.exists() else {}
    write_atomically(file, json.dumps({**known, **values}, indent=indent))


def _plain(name: str, value: Any, curves: dict[str, Any]) -> Any:
    """A JSON value; NaN and infinities, which JSON lacks, become text. Fills in `curves`."""
    if _is_history(value):
        from labkit.curves import curves as curves_of

        curves.update({f"{name}.{curve}": points for curve, points in curves_of(value).items()})
        return _words(value)
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(f"{name}.{k}", item, curves) for k, item in value.items()}
    if hasattr(value, "tolist") or (isinstance(value, Sequence) and not isinstance(value, bytes)):
        items = value.tolist() if hasattr(value, "tolist") else value
        return [_plain(f"{name}[{i}]", item, curves) for i, item in enumerate(items)]
    raise LabError(f"{name} cannot be reported: {type(value).__name__} is not a JSON value")


def _is_history(value: Any) -> TypeGuard[History]:
    module = sys.modules.get("labkit.history")  # who has a history has imported it
    return module is not None and isinstance(value, module.History)


def _words(history: History) -> str:
    """`500 steps, loss 0.02, accuracy 0.97`: of the validation set, at the end."""
    summary = history.summary()
    words = [f"{summary['steps']} steps"]
    for name in ("loss", "accuracy"):
        if f"val_{name}" in summary:
            words.append(f"{name} {show(summary[f'val_{name}'])}")
    return ", ".join(words)
