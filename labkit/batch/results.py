"""The runs of a batch as one table: a DataFrame, a CSV file, a Parquet file."""

from __future__ import annotations

import importlib.util
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.batch.folder import Folder
from labkit.training.curves import FILE as CURVES

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("id", "notebook", "state", "seconds", "attempt", "failure")
_NOT_FINITE = ("nan", "inf", "-inf")  # what `labkit.report` makes of them: JSON has none


@dataclass(frozen=True)
class Record:
    """What a run's folder holds.

    Attributes:
        status: its `status.json`; of a run that is queued `id`, `notebook`, `state` and
            `parameters` alone.
        results: its `results.json`; empty where there is none.
        curves: `{name: {"x": [...], "y": [...]}}`, of its `curves.json`.
        page: whether the executed notebook is there as a page.
    """

    status: dict[str, Any]
    results: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    page: bool = False


@dataclass(frozen=True)
class Column:
    """One column of the table: what its values are, and where they come from.

    Attributes:
        name: unlike all others.
        kind: "fact" (see `FACTS`), "parameter" or "result".
        values: one for each run; None where a run has none.
    """

    name: str
    kind: str
    values: list[Any]


def load(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The runs of a batch, one row each, in the order in which they were requested.

    Columns: `id`, `notebook`, `state`; the parameters; the results; `seconds`,
    `attempt`, `failure` (the reason, for a run that is not done). A run that has no
    results, because it failed or has not ended, has NaN in their place. A result with
    the name of another column becomes `result.NAME`, a parameter `parameter.NAME`.
    Lists and dicts remain what they are; the texts "nan" and "inf", which stand for
    numbers in JSON, become those numbers where a column holds numbers.

    Args:
        folder: local, or anything that fsspec reaches (`s3://...`).

    Raises:
        FileError: no batch was kept there.
    """
    return frame(columns(read(folder, whole=False)))


def write(folder: str | os.PathLike[str]) -> list[str]:
    """Write the table of a batch beside its runs; lists and dicts become JSON text.

    Returns:
        The names of the files: `results.csv`, and `results.parquet` where pyarrow is
        installed.

    Raises:
        FileError: no batch was kept there.
    """
    from pandas.api.types import is_object_dtype

    table = load(folder)
    for name in table:
        if is_object_dtype(table[name]):
            table[name] = [_text(value) for value in table[name]]
    files = {"results.csv": table.to_csv(index=False).encode()}
    if importlib.util.find_spec("pyarrow"):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files["results.parquet"] = buffer.getvalue()
    place = Folder(folder)
    for name, data in files.items():
        place.write(name, data)
    return list(files)


def read(folder: str | os.PathLike[str], *, whole: bool = True) -> list[Record]:
    """What the runs of a batch left; those that newer ones have replaced are left out.

    Results count only where a run is done; curves show also how far a failed one came.

    Args:
        folder: the batch's.
        whole: with the curves and pages, which a table does not need.

    Raises:
        FileError: no batch was kept there.
    """
    place = Folder(folder)
    statuses = place.statuses()
    results = place.read_all((s["id"] for s in statuses if s["state"] == "done"), "results.json")
    curves = place.read_all((s["id"] for s in statuses), CURVES) if whole else {}
    files = set(place.store.names("")) if whole else set()
    return [
        Record(
            status,
            _object(results.get(status["id"])),
            _object(curves.get(status["id"])),
            f"{status['id']}/{status['notebook']}.html" in files,
        )
        for status in statuses
    ]


def _object(data: bytes | None) -> dict[str, Any]:
    """A JSON object; empty where a notebook wrote something else by itself."""
    try:
        value = json.loads(data or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def columns(records: Sequence[Record]) -> list[Column]:
    """The table of `load`, as plain values; a result "nan" is a text here."""
    taken = set(FACTS)
    parameters = _columns("parameter", [r.status.get("parameters") or {} for r in records], taken)
    results = _columns("result", [record.results for record in records], taken)
    facts = {name: [_fact(record, name) for record in records] for name in FACTS}
    ordered = [Column(name, "fact", values) for name, values in facts.items()]
    return [*ordered[:3], *parameters, *results, *ordered[3:]]


def frame(table: Iterable[Column]) -> pd.DataFrame:
    """Columns as a DataFrame."""
    import pandas as pd

    return pd.DataFrame({column.name: _series(column.values) for column in table})


def numbers(values: Sequence[Any]) -> list[float | None] | None:
    """The values as numbers or None, "nan" and "inf" as such; None where one is no number."""
    kinds = set(map(type, values)) - {type(None)}
    if str in kinds:
        values = [float(v) if isinstance(v, str) and v in _NOT_FINITE else v for v in values]
        kinds = set(map(type, values)) - {type(None)}
    return list(values) if kinds and kinds <= {int, float} else None


def _series(values: list[Any]) -> pd.Series:
    import pandas as pd

    if (plain := numbers(values)) is not None:
        return pd.Series(plain)
    if {bool, type(None)} == set(map(type, values)):
        return pd.Series(values, dtype="boolean")
    return pd.Series(values)


def _text(value: Any) -> str | None:
    """A value of a column of several types as text, for a file."""
    missing = value is None or (isinstance(value, float) and value != value)
    return None if missing else value if isinstance(value, str) else json.dumps(value)


def _fact(record: Record, name: str) -> Any:
    if name == "failure":
        failure = record.status.get("failure") or {}
        return failure.get("reason") or record.status.get("problem")
    return record.status.get(name)


def _columns(kind: str, rows: Sequence[Mapping[str, Any]], taken: set[str]) -> list[Column]:
    """One column for each name in the rows; `taken` are those in use, and grow."""
    found = []
    for name in dict.fromkeys(name for row in rows for name in row):
        unique = name
        while unique in taken:
            unique = f"{kind}.{unique}"
        taken.add(unique)
        found.append(Column(unique, kind, [row.get(name) for row in rows]))
    return found
