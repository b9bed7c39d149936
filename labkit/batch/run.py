"""One execution of one notebook with one set of parameters, through papermill."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from labkit.batch.page import to_html
from labkit.batch.parameters import check_parameters, read_parameters
from labkit.errors import LabError
from labkit.files import write_atomically
from labkit.results import RESULTS

LONGEST_SOCKET = 100  # bytes of a socket's path; the system's own limit is 104 or 108


@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Attributes:
        folder: where everything lies.
        notebook: the executed notebook.
        page: the same as HTML, with live figures.
        results: what the notebook reported.
        error: the cell (by the number beside it), the error and its message, where it
            failed; else None.
    """

    folder: Path
    notebook: Path
    page: Path
    results: dict[str, Any]
    error: str | None = None


def run_notebook(
    notebook: str | os.PathLike[str],
    parameters: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] = "runs",
    *,
    progress: bool = False,
) -> Run:
    """Run a notebook without a person and keep what it showed and reported.

    `interactive` is set to False where the notebook has it. The folder is
    `out/<notebook's name>` with the executed notebook, an HTML page and `results.json`.

    Args:
        notebook: a notebook with a cell tagged `parameters`.
        parameters: replacements for its defaults, as JSON values or as text.
        out: where the run's folder is made.
        progress: show a progress bar.

    Raises:
        LabError: a parameter that is unknown or cannot be, before anything runs.
        FileError: not a notebook with parameters.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    path = Path(notebook)
    known = read_parameters(path)
    values = check_parameters(known, parameters or {})
    if "interactive" in known:
        values = {"interactive": False, **values}
    folder = Path(out) / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    executed, page = folder / path.name, folder / f"{path.stem}.html"
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    unfinished = folder / f".{path.name}"  # papermill's own saving is not atomic
    error = None
    environment = {RESULTS: str(results.resolve()), "PLOTLY_RENDERER": "plotly_mimetype"}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with _private_kernel() as config:
            papermill.execute_notebook(
                _literal(path),
                _literal(unfinished),
                values,
                cwd=str(folder),
                progress_bar=progress,
                config=config,
            )
    except papermill.PapermillExecutionError as problem:
        error = f"cell [{problem.exec_count}]: {problem.ename}: {problem.evalue}"
    except DeadKernelError:
        error = "the kernel died while a cell ran: out of memory, or something ended it"
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    if not unfinished.exists():
        raise LabError(f"{path} could not be run: {error}")
    write_atomically(page, to_html(nbformat.read(unfinished, as_version=4), path.stem))
    os.replace(unfinished, executed)
    if not results.exists():
        write_atomically(results, "{}")
    return Run(folder, executed, page, json.loads(results.read_text()), error)


@contextmanager
def _private_kernel() -> Iterator[Any]:
    """Settings of a kernel that talks through sockets in a folder of this user's own.

    TCP ports are open to everybody on the machine, and two kernels that start at once may
    choose the same. They remain where the system has no such sockets.
    """
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        sockets = os.path.join(folder, "kernel")
        if os.name != "posix" or len(os.fsencode(sockets)) > LONGEST_SOCKET:
            yield Config()
            return
        settings = {"transport": "ipc", "ip": sockets, "connection_file": f"{sockets}.json"}
        yield Config(KernelManager=settings)


def _literal(path: Path) -> str:
    """A path for papermill, which formats it: `runs {a}` would ask for a parameter `a`."""
    return str(path).replace("{", "{{").replace("}", "}}")
