"""One run of one notebook, in a process of its own: papermill executes, the files are kept.

It is started by `labkit.batch.perform`, with a private folder that holds the job and takes
the answer: `python -m labkit.batch.runner FOLDER`, or forked from a preloaded process.
"""

from __future__ import annotations

import errno
import html
import json
import logging
import os
import pickle
import re
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labkit.batch.job import Failure, Job
from labkit.core.errors import FileError, LabError
from labkit.core.files import write_atomically

JOB = "job"  # files of the private folder
ANSWER = "answer"
JOURNAL = "journal"

WARM = "labkit-warm"
START = 60  # seconds in which a kernel has to answer
LINES = 20  # of a traceback or a log that a failure quotes
REASON = 300  # characters
LONGEST_SOCKET = 100  # bytes of a socket's path; the system's own limit is 104 or 108
FULL = (errno.ENOSPC, errno.EDQUOT)

Answer = tuple[str, Failure | None, bool]


def main(arguments: list[str]) -> None:
    """Perform the job of a private folder and leave the answer there."""
    private = Path(arguments[0])
    job: Job = pickle.loads((private / JOB).read_bytes())
    try:
        state, failure, infrastructure = run(job, private)
    except OSError as error:
        state, failure, infrastructure = "failed", os_failure(error), True
    except Exception as error:
        lines = traceback.format_exc().splitlines()[-LINES:]
        name = type(error).__name__
        state, infrastructure = "failed", False
        failure = Failure(one_line(f"{name}: {error}"), name=name, lines=tuple(lines))
    answer = {"state": state, "failure": failure and asdict(failure), "blameless": infrastructure}
    try:
        write_atomically(private / ANSWER, json.dumps(answer))
    except OSError as error:
        sys.exit(error.errno)  # all that can be reported with no space left


def run(job: Job, private: Path) -> Answer:
    """Execute the notebook; whatever comes of it, the notebook and its page are kept.

    Returns:
        The state, why it is not done, and whether the notebook is not to blame.

    Raises:
        OSError: a file could not be written; its path is in it.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError
    from papermill.engines import papermill_engines
    from papermill.iorw import papermill_io

    from labkit.batch.client import Engine, KernelError
    from labkit.batch.journal import Journal

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # the failure is reported by us
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    files = Files(job)
    papermill_engines.register("labkit", Engine)
    papermill_io.register(files.name, files)
    try:
        kernel, extra = choose_kernel(files.source(), job.parameters, job.kernel == "warm")
    except LabError as error:
        return "failed", Failure(one_line(str(error))), False
    path = files.name.replace("{", "{{").replace("}", "}}")  # papermill formats it
    answer: Answer = ("done", None, False)
    try:
        papermill.execute_notebook(
            path,
            path,
            job.parameters,
            engine_name="labkit",
            kernel_name=kernel,
            language="python",
            request_save_on_cell_execute=False,
            progress_bar=False,
            report_mode=job.report_mode,
            journal=Journal(private / JOURNAL),
            begin=files.take,
            save=files.save,
            settings={
                "output": job.limits.output,
                "cell_seconds": job.limits.cell_seconds,
                "startup_timeout": START,
                "extra_arguments": extra,
                "resources": {"metadata": {"path": job.folder}},  # where the kernel works
                "config": _private_kernel(private),
            },
        )
    except papermill.PapermillExecutionError as error:
        full = is_full(error.evalue)
        answer = "failed", cell_failure(error, f" in {job.folder}" if full else ""), full
    except CellTimeoutError as error:
        answer = late(files, str(error))
    except KernelError as error:
        reason, infrastructure = died(error)
        answer = "failed", files.failure(reason, "DeadKernelError"), infrastructure
    files.finish()
    return answer


def late(files: Files, message: str) -> Answer:
    """A cell that took too long, or whose kernel did not say that it has ended."""
    if "IOPub" in message:
        reason = "the kernel did not send all of its output"
        return "failed", files.failure(reason, "CellTimeoutError"), True
    reason = f"took longer than {files.job.limits.cell_seconds:g} s"
    return "timed out", files.failure(reason, "CellTimeoutError"), False


class Files:
    """The notebook on disk; papermill reads and writes through it.

    Unfinished, it has a hidden name; every write is a rename.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.name = f"{job.name}.ipynb"
        self.folder = Path(job.folder or ".")
        self.notebook: Any = None
        self._text: str | None = None

    # --- papermill's interface of a place for notebooks --------------------------------

    def read(self, path: str) -> str:
        """The notebook as it came."""
        return self.job.notebook.decode()

    def write(self, text: str, path: str) -> None:
        """The text that papermill saves last; `finish` writes it."""
        self._text = text

    def pretty_path(self, path: str) -> str:
        """As it is."""
        return path

    # --- what is kept ------------------------------------------------------------------

    def source(self) -> Any:
        """The notebook's metadata.

        Raises:
            FileError: it is no notebook.
        """
        try:
            notebook = json.loads(self.job.notebook)
            metadata, _ = dict(notebook["metadata"]), list(notebook["cells"])
            return metadata
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise FileError(f"{self.name} is not a notebook: {problem}") from None

    def take(self, notebook: Any) -> None:
        """From now on this is the notebook, with its parameters."""
        self.notebook = notebook
        self.save()

    def save(self) -> None:
        """Keep the notebook while it runs."""
        write(self.folder / unfinished(self.name), writes(self.notebook))

    def finish(self) -> None:
        """The executed notebook and its page."""
        write(self.folder / self.name, self._text or writes(self.notebook))
        (self.folder / unfinished(self.name)).unlink(missing_ok=True)
        write(self.folder / f"{self.job.name}.html", page_of(self.notebook, self.job.name))

    def failure(self, reason: str, name: str | None = None) -> Failure:
        """A failure of the cell that papermill had begun."""
        return failure_of(self.notebook, reason, name)


def writes(notebook: Any) -> str:
    """A notebook as text, as Jupyter writes it."""
    from nbformat.v4 import writes_json

    return f"{writes_json(notebook)}\n"


def page_of(notebook: Any, title: str) -> str:
    """A notebook's page, or one that says why there is none: no run fails because of it."""
    from labkit.batch.page import to_html

    try:
        return to_html(notebook, title)
    except Exception as error:
        traceback.print_exc()
        reason = html.escape(f"{type(error).__name__}: {error}")
        return f"<!doctype html><html><p>This page could not be made: {reason}</p></html>"


def write(path: Path, text: str) -> None:
    """Write atomically; an error names the file, which one raised by writing does not."""
    try:
        write_atomically(path, text.encode(errors="replace"))  # half of a surrogate pair
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def unfinished(name: str) -> str:
    """The hidden name of a file that is not complete."""
    return f".{name}"


def failure_of(notebook: Any, reason: str, name: str | None = None) -> Failure:
    """A failure of the cell that is marked so, with the last lines that it printed."""
    number = 0
    for cell in notebook.cells if notebook is not None else ():
        number += cell.cell_type == "code" and bool(cell.source.strip())
        if cell.metadata.get("papermill", {}).get("status") == "failed":
            number = cell.get("execution_count") or number
            texts = [o["text"] for o in cell.get("outputs", []) if o["output_type"] == "stream"]
            lines = plain("".join(texts)).splitlines()[-LINES:]
            return Failure(one_line(f"cell [{number}]: {reason}"), number, name, tuple(lines))
    return Failure(one_line(reason), name=name)


def cell_failure(error: Any, where: str = "") -> Failure:
    """A cell's error as papermill reports it."""
    lines = plain("\n".join(error.traceback)).splitlines()[-LINES:]
    text = f"{error.ename}: {plain(error.evalue)}".rstrip(": ")
    reason = one_line(f"cell [{error.exec_count}]: {text}{where}")
    return Failure(reason, error.exec_count, error.ename, tuple(lines))


def os_failure(error: OSError) -> Failure:
    """A file that could not be read or written."""
    reason = (error.strerror or str(error)).lower()
    where = f": {error.filename}" if error.filename else ""
    return Failure(one_line(f"{reason}{where}"), name=type(error).__name__)


def is_full(message: str) -> bool:
    """Whether an error's message is that of a full disk: trying again may help."""
    return any(f"[Errno {code}]" in message for code in FULL)


def died(error: Any) -> tuple[str, bool]:
    """Why a kernel ended, and whether the notebook is not to blame."""
    if not error.started:
        return str(error), True
    if error.code is None:
        return "the kernel died", True
    if error.code < 0:
        return f"the kernel was killed by {signal_name(-error.code)}", True
    return f"the notebook ended its kernel with exit code {error.code}", False


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def plain(text: str) -> str:
    """A text without the terminal's colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def one_line(text: str) -> str:
    """A text that fits into a table."""
    line = " ".join(text.split())
    return line if len(line) <= REASON else f"{line[: REASON - 1]}…"


# --- kernels -----------------------------------------------------------------------------


def choose_kernel(
    metadata: dict[str, Any], parameters: dict[str, Any], warm: bool
) -> tuple[str, list[str]]:
    """The name of the kernel that a notebook asks for, and more arguments for it.

    Python's own kernel is the warm one where that is wanted.

    Raises:
        LabError: it is not installed; or parameters for a language that is not Python, in
            which a text can be code (`"$(…)"` in Julia).
    """
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    given = metadata.get("kernelspec", {}).get("name")
    name = "python3" if given in (None, "", WARM) else given
    manager = KernelSpecManager()
    try:
        spec = manager.get_kernel_spec(name)
    except NoSuchKernel:
        there = ", ".join(sorted(manager.find_kernel_specs()))
        raise LabError(
            f"the notebook asks for the kernel {name!r}, which is not installed here. "
            f"There are: {there}."
        ) from None
    if parameters and spec.language.lower() != "python":
        raise LabError(
            f"parameters are for Python: this notebook's kernel {name!r} is of {spec.language}"
        )
    if not _is_own(spec.argv):
        return str(name), []
    if warm:
        try:
            manager.get_kernel_spec(WARM)
        except NoSuchKernel:
            print("labkit: a plain kernel: labkit's own is not installed")
        else:
            name = WARM
    return str(name), ["--IPKernelApp.outstream_class=labkit.warm.stream.PacedStream"]


def _is_own(command: list[str]) -> bool:
    """Whether a kernel is this interpreter's ipykernel."""
    python = f"python{sys.version_info[0]}"
    own = {"python", python, f"{python}.{sys.version_info[1]}", sys.executable}
    return "ipykernel_launcher" in command and command[0] in own


def _private_kernel(private: Path) -> Any:
    """Settings of a kernel that talks through sockets in a folder of this user's own.

    TCP ports are open to everybody on the machine, and two kernels that start at once may
    choose the same. They remain where the system has no such sockets.
    """
    from traitlets.config import Config

    sockets = str(private / "kernel")
    if os.name != "posix" or len(os.fsencode(sockets)) > LONGEST_SOCKET:
        return Config(KernelManager={"connection_file": f"{sockets}.json"})
    settings = {"transport": "ipc", "ip": sockets, "connection_file": f"{sockets}.json"}
    return Config(KernelManager=settings)


# --- as a program ------------------------------------------------------------------------


def _end_with_parent() -> None:
    """Stdin is a pipe that closes when the process that started this has ended, in any way."""
    from labkit.batch.process import kill_marked

    while os.read(0, 1024):
        pass
    kill_marked(os.environ.get("LABKIT_RUN", ""))
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(sys.argv[1:])
