"""A notebook's results: a small table for its reader, JSON for a batch."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from labkit.core.errors import LabError
from labkit.core.files import RESULTS, write_atomically
from labkit.core.table import Table, show

if TYPE_CHECKING:
    from labkit.training.history import History


def report(**values: Any) -> Table:
    """Report results by name: shown as a table, and saved for a batch.

    A batch names a JSON file in the environment variable `LABKIT_RESULTS`; results of
    several calls are merged there, later ones win, and the file is never half-written.
    Curves of histories are kept beside it in `curves.json`, thinned.

    Args:
        values: JSON values; numpy and torch scalars are taken as plain numbers. A
            `History`, also in a list or a dict (a race's `histories`), becomes a short
            summary, and its losses and accuracies become curves.

    Raises:
        LabError: a value that JSON cannot hold, by its name.
    """
    curves: dict[str, Any] = {}
    plain = {name: _plain(name, value, curves) for name, value in values.items()}
    if path := os.environ.get(RESULTS):
        if curves:
            from labkit.training.curves import FILE

            _merge(Path(path).with_name(FILE), curves)
        _merge(Path(path), plain, indent=2)
    return Table({"result": name, "value": value} for name, value in plain.items())


def _merge(file: Path, values: Mapping[str, Any], indent: int | None = None) -> None:
    known = json.loads(file.read_text()) if file.exists() else {}
    write_atomically(file, json.dumps({**known, **values}, indent=indent))


def _plain(name: str, value: Any, curves: dict[str, Any]) -> Any:
    """A JSON value; NaN and infinities, which JSON lacks, become text. Fills in `curves`."""
    if _is_history(value):
        from labkit.training.curves import curves as curves_of

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
    module = sys.modules.get("labkit.training.history")  # whatever made a history has imported it
    return module is not None and isinstance(value, module.History)


def _words(history: History) -> str:
    """`500 steps, loss 0.02, accuracy 0.97`: of the validation set, at the end."""
    summary = history.summary()
    words = [f"{summary['steps']} steps"]
    for name in ("loss", "accuracy"):
        if f"val_{name}" in summary:
            words.append(f"{name} {show(summary[f'val_{name}'])}")
    return ", ".join(words)
