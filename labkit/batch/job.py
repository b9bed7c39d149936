"""A worker's job and its outcome: plain data that travels as bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from labkit._version import __version__

READABLE = 60  # characters of a run's folder name, in front of the hash


@dataclass(frozen=True)
class Limits:
    """What a run may use; None where there is no limit.

    Attributes:
        cell_seconds: of one cell.
        run_seconds: of the whole run, the kernel's start included.
        memory: bytes, of the kernel and whatever it started.
        output: bytes of text that one cell may print; the rest is cut off.
    """

    cell_seconds: float | None = None
    run_seconds: float | None = None
    memory: int | None = None
    output: int = 4 * 2**20


@dataclass(frozen=True)
class Job:
    """One run of one notebook: everything that a worker needs to perform it.

    Attributes:
        id: the name of the run's folder, `04_optimizers-lr=0.1-3fa91c22b4`; see `identify`.
        name: the notebook's own, without `.ipynb`; the executed one and its page have it.
        notebook: the notebook's file, as it is.
        parameters: checked JSON values by name.
        kernel: "warm", forked from a preloaded process, or "plain".
        threads: for torch and its like.
        report_mode: hide the code in the executed notebook, as papermill does.
        limits: what it may use.
        folder: where to leave the files; None where nothing is shared with the driver:
            they come back as bytes then.
    """

    id: str
    name: str
    notebook: bytes
    parameters: dict[str, Any]
    kernel: str = "warm"
    threads: int = 1
    report_mode: bool = False
    limits: Limits = field(default_factory=Limits)
    folder: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why a run is not done.

    Attributes:
        reason: one line for its reader: `cell [3]: ValueError: no such task`.
        cell: the number beside the cell, where one failed.
        name: the error's class, where there is one.
        lines: the last lines of its traceback or of the log, without colours.
    """

    reason: str
    cell: int | None = None
    name: str | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        state: "done", "failed", "timed out" or "killed".
        failure: why, where it is not done.
        infrastructure: whether the notebook is not to blame, so that trying again may help.
        host: where it ran.
        pid: of the process that performed it.
        started: seconds since the epoch.
        seconds: how long it took.
        files: what it left, by name, where the job named no folder.
    """

    state: str
    failure: Failure | None
    infrastructure: bool
    host: str
    pid: int
    started: float
    seconds: float
    files: dict[str, bytes] = field(default_factory=dict)


def identify(name: str, notebook: bytes, parameters: Mapping[str, Any]) -> str:
    """A run's identity, fit to name its folder: readable first, then a hash.

    The hash is of what decides about the results: the notebook's cells, the parameters
    (defaults that are not replaced stand in the notebook) and labkit's version.
    """
    values = json.dumps(dict(parameters), sort_keys=True)
    parts = (_cells(notebook), values, __version__)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
    given = {k: v for k, v in parameters.items() if k != "interactive"}
    words = "-".join([name, *(f"{k}={_word(v)}" for k, v in given.items())])
    return f"{re.sub(r'[^A-Za-z0-9_.=+-]+', '_', words)[:READABLE].strip('.-')}-{digest}"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=4)  # the runs of a grid are of the same notebook
def _cells(notebook: bytes) -> str:
    """The cells alone: JupyterLab rewrites the rest as soon as a kernel starts."""
    cells = json.loads(notebook)["cells"]
    content = [
        (cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in cells
    ]
    return json.dumps(content)
