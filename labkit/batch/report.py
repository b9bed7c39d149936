"""A batch as one HTML page that needs nothing but a browser: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from labkit.batch.folder import Folder
from labkit.batch.results import Column, Record, columns, numbers, read
from labkit.core.formatting import duration

NAME = "report.html"
ASSETS = Path(__file__).parent / "report_page"
SCRIPTS = ("runs", "filter", "table", "charts", "coordinates", "heatmap", "curves", "start")
POINTS = 200_000  # of all curves together: what keeps the page of a large batch small
FEWEST, MOST = 20, 200  # points of one curve
LONGEST = 200  # characters of a list or dict in the table
LINKS = 8  # runs named beside a reason why runs failed
REASONS = 20  # different ones that are shown
FAILED = ("failed", "timed out", "killed", "stale")


def report(folder: str | os.PathLike[str]) -> str:
    """Write `report.html` beside a batch's runs: failures first, then table and charts.

    The page holds everything it shows, plotly.js included; only the executed notebooks
    are links.

    Returns:
        Its path, or its URL.

    Raises:
        FileError: no batch was kept there.
    """
    place = Folder(folder)
    name = PurePosixPath(place.where()).name or "batch"
    place.write(NAME, to_html(read(folder), name))
    return place.where(NAME)


def to_html(records: Sequence[Record], title: str) -> str:
    """The page of these runs.

    Only this page's own scripts may run in it, by their hash, and nothing may be fetched:
    whatever a parameter or a result holds, it stays text.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = [(ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    scripts = ["\n".join(own), get_plotlyjs()]
    table = columns(records)
    return environment.get_template("page.html").render(
        title=title,
        policy=_policy(scripts),
        style=(ASSETS / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        data=_embedded(_data(records, table)),
        counts=Counter(record.status["state"] for record in records),
        facts=_facts(records),
        common=[
            column
            for column in table
            if column.kind == "parameter" and column.name != "interactive" and not _varies(column)
        ],
        failures=_failures(records),
        more=len(_reasons(records)) - REASONS,
        href=_href,
        show=_show,
        links=LINKS,
    )


def _policy(scripts: Sequence[str]) -> str:
    """A content security policy: these scripts, and nothing from elsewhere."""
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _embedded(data: Any) -> str:
    """JSON that ends no script element and breaks no line, whatever it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# --- words above the charts ------------------------------------------------------------


def _facts(records: Sequence[Record]) -> list[str]:
    """When it was, how long it took, and by which labkit."""
    statuses = [record.status for record in records]
    began = [datetime.fromisoformat(s["started"]) for s in statuses if s.get("started")]
    ended = [datetime.fromisoformat(s["ended"]) for s in statuses if s.get("ended")]
    facts = []
    if began:
        facts.append(f"started {min(began):%Y-%m-%d %H:%M} UTC")
    if began and ended:
        facts.append(f"took {duration((max(ended) - min(began)).total_seconds())}")
    seconds = [s["seconds"] for s in statuses if s.get("seconds") is not None]
    if len(seconds) > 1:
        facts.append(f"{duration(sum(seconds))} of runs")
    versions = sorted({s["labkit"] for s in statuses if s.get("labkit")})
    return [*facts, *(f"labkit {version}" for version in versions)]


def _reasons(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """The runs that are not done, by state and reason; the most frequent first."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.status["state"] in FAILED:
            failure = record.status.get("failure") or {}
            key = (record.status["state"], failure.get("reason") or "no reason was kept")
            found.setdefault(key, []).append(record)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _failures(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {
            "state": state,
            "reason": reason,
            "runs": group,
            "lines": "\n".join((group[0].status.get("failure") or {}).get("lines") or ()),
            "filter": f"state={json.dumps(state)} failure={json.dumps(reason, ensure_ascii=False)}",
        }
        for (state, reason), group in list(_reasons(records).items())[:REASONS]
    ]


def _href(record: Record) -> str | None:
    """The page of the executed notebook, from where the report lies."""
    folder, name = record.status["id"], record.status["notebook"]
    return f"./{quote(folder, safe='')}/{quote(name, safe='')}.html" if record.page else None


# --- what the charts are made of -------------------------------------------------------


def _data(records: Sequence[Record], table: Sequence[Column]) -> dict[str, Any]:
    from labkit.figures import theme

    return {
        "count": len(records),
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "numeric": numbers(column.values) is not None,
                "varied": _varies(column),
                "values": [_cell(value) for value in column.values],
            }
            for column in table
        ],
        "hrefs": [_href(record) for record in records],
        "curves": _curves(records),
        "theme": {
            "layout": theme.TEMPLATE["layout"],
            "categories": theme.CATEGORIES,
            "ramp": theme.depth(9),
            "heat": [[0, "#f1f6fa"], [0.5, "#8dbbdd"], [1, "#1b6ca8"]],
            "warning": theme.WARNING,
        },
    }


def _varies(column: Column) -> bool:
    return len({json.dumps(value, sort_keys=True) for value in column.values}) > 1


def _cell(value: Any) -> Any:
    """A value that JavaScript reads as it is meant: no NaN, no whole number that it rounds."""
    if isinstance(value, list | dict):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if type(value) is int and abs(value) > 2**53 else value


def _show(value: Any) -> str:
    from labkit.core.table import show

    return show(_cell(value))


def _curves(records: Sequence[Record]) -> dict[str, Any]:
    """The curves of all runs: `lines[name]` is `[run, index into xs, y]` of each that has one."""
    from labkit.training.curves import thin

    found = [
        (name, run, x, y)
        for run, record in enumerate(records)
        for name, (x, y) in _curves_of(record).items()
    ]
    most = min(MOST, max(FEWEST, POINTS // max(1, len(found))))
    places: dict[tuple[Any, ...], int] = {}
    lines: dict[str, list[Any]] = {}
    for name, run, x, y in found:
        short_x, short_y = thin(x, y, most)
        place = places.setdefault(tuple(short_x), len(places))
        lines.setdefault(name, []).append([run, place, short_y])
    return {"xs": list(places), "lines": lines}


def _curves_of(record: Record) -> dict[str, tuple[list[Any], list[Any]]]:
    """The curves that were kept, and every reported list of three numbers or more."""
    found: dict[str, tuple[list[Any], list[Any]]] = {}
    for name, curve in record.curves.items():
        if isinstance(curve, dict):
            x, y = _numbers(curve.get("x")), _numbers(curve.get("y"))
            if x and y and len(x) == len(y):
                found[name] = (x, y)
    for name, value in record.results.items():
        y = _numbers(value)
        if y and len(y) >= 3:
            found.setdefault(name, (list(range(len(y))), y))
    return found


def _numbers(values: Any) -> list[Any] | None:
    """Numbers, one of them finite; None where they are something else."""
    found = numbers(values) if isinstance(values, list) else None
    finite = any(value is not None and math.isfinite(value) for value in found or ())
    return found if finite else None
