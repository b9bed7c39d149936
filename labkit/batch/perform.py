"""One job, from its bytes to its outcome: start a runner, keep it within its limits, collect.

`perform` is all that an executor runs, on this machine or on another.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psutil

from labkit.batch import process
from labkit.batch.job import Failure, Job, Outcome
from labkit.batch.runner import (
    ANSWER,
    FULL,
    JOB,
    JOURNAL,
    LINES,
    failure_of,
    one_line,
    os_failure,
    page_of,
    plain,
    signal_name,
    unfinished,
    write,
    writes,
)
from labkit.core.files import RESULTS
from labkit.core.formatting import memory_size
from labkit.training.curves import FILE as CURVES_FILE

LOG = "log.txt"
RESULTS_FILE = "results.json"
BROKEN = "results.broken.json"
LOOK = 0.5  # seconds between two looks at a run's limits
GRACE = 10.0  # seconds that a runner has to keep its files once its kernel was ended
RESERVE = 0.04, 2**30  # share of the machine's memory that stays free, and the most bytes of it
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Verdict = tuple[str, Failure, bool]  # state, failure, whether the notebook is not to blame

# Whether anybody waits for this context's run: a cluster's worker sets it.
wanted: ContextVar[Callable[[], bool]] = ContextVar("wanted", default=lambda: True)

_running: set[_Execution] = set()
_lock = threading.Lock()


def perform(job: Job) -> Outcome:
    """Run a job's notebook in a process of its own, and leave or return its files.

    Whatever the notebook does, this returns: an error, a limit, a killed process and a full
    disk are outcomes, and nothing that the notebook started is left running.
    """
    started = time.time()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        files: dict[str, bytes] = {}
        try:
            place = job.folder or stack.enter_context(_temporary_folder())
            folder = Path(place).resolve()
            private = Path(stack.enter_context(_temporary_folder()))
            state, failure, infrastructure = _Execution(replace(job, folder=str(folder)), private)()
            if job.folder is None:
                files = _collect(folder)
        except OSError as error:
            state, failure, infrastructure = "failed", os_failure(error), True
        except Exception as error:  # what a run left can be anything
            reason = one_line(f"{type(error).__name__}: {error}")
            lines = traceback.format_exc().splitlines()[-LINES:]
            failure = Failure(reason, name=type(error).__name__, lines=tuple(lines))
            state, infrastructure = "failed", True
    return Outcome(
        state=state,
        failure=failure,
        infrastructure=infrastructure,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=started,
        seconds=time.monotonic() - began,
        files=files,
    )


def stop_all() -> None:
    """End every run of this process, soon; their outcomes are "killed"."""
    with _lock:
        for run in _running:
            run.stopped.set()


class _Process(Protocol):
    """What a plain child and a forked one have in common."""

    def wait(self, timeout: float | None = None) -> int | None: ...
    def family(self) -> list[psutil.Process]: ...
    def kill(self) -> None: ...


class _Execution:
    """A runner, while it runs."""

    def __init__(self, job: Job, private: Path) -> None:
        self.job = job
        self.folder = Path(str(job.folder))
        self.private = private
        self.name = f"{job.name}.ipynb"
        self.stopped = threading.Event()
        self.wanted = wanted.get()
        self.ending = False
        self.used = 0  # bytes of memory, at the last look

    def __call__(self) -> tuple[str, Failure | None, bool]:
        self._prepare()
        with _lock:
            _running.add(self)
        try:
            verdict = self._watch()
        finally:
            with _lock:
                _running.discard(self)
        return self._conclude(verdict)

    def _prepare(self) -> None:
        """An empty place: what an earlier attempt left is not this one's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        page = f"{self.job.name}.html"
        results = (RESULTS_FILE, CURVES_FILE, BROKEN)
        for name in (self.name, unfinished(self.name), page, *results, LOG):
            (self.folder / name).unlink(missing_ok=True)
        (self.private / JOB).write_bytes(pickle.dumps(self.job))

    # --- while it runs -----------------------------------------------------------------

    def _watch(self) -> Verdict | None:
        """Wait for the runner's end, or bring it about."""
        deadline = time.monotonic() + (self.job.limits.run_seconds or float("inf"))
        try:
            self.process = self._start()
        except Exception as error:  # whatever hinders a process to start
            return "failed", Failure(one_line(f"the run did not start: {error}")), True
        code: int | None = None
        verdict: Verdict | None = None
        try:
            while code is None and verdict is None:
                code = self.process.wait(min(LOOK, max(deadline - time.monotonic(), 0)))
                verdict = None if code is not None else self._verdict(deadline)
            if verdict is not None:
                self.ending = True
                self._end_kernel()
                self.process.wait(GRACE)
        finally:
            self.process.kill()
            self.process.wait()
        if verdict is None and not (self.private / ANSWER).exists():
            verdict = "failed", self._died(int(code or 0)), True
        return verdict

    def _start(self) -> _Process:
        environment = {
            **os.environ,
            RESULTS: str(self.folder / RESULTS_FILE),
            "PLOTLY_RENDERER": "plotly_mimetype",
            process.MARK: str(self.private),
            "LABKIT_THREADS": str(self.job.threads),  # a warm kernel's
        }
        log = self.folder / LOG
        if self.job.kernel == "warm":
            from labkit.warm import forkserver

            if (reason := forkserver.unavailable()) is None:
                return forkserver.shared().fork(
                    "labkit.batch.runner:main",
                    [str(self.private)],
                    cwd=self.private,
                    env=environment,
                    log=log,
                    threads=self.job.threads,
                )
            log.write_text(f"labkit: a plain kernel: {reason}\n")
        environment.update(dict.fromkeys(THREADS, str(self.job.threads)))
        return process.Plain(
            "labkit.batch.runner", [str(self.private)], cwd=self.private, env=environment, log=log
        )

    def _verdict(self, deadline: float) -> Verdict | None:
        """Why the run has to end now."""
        if self.stopped.is_set() or not self.wanted():
            return "killed", Failure("stopped"), False
        if time.monotonic() >= deadline:
            reason = f"the run took longer than {self.job.limits.run_seconds:g} s"
            return "timed out", Failure(reason), False
        limit = self.job.limits.memory
        if limit is None and _free() is None:
            return None
        self.used = self._memory()
        if limit is not None and self.used > limit:
            used, most = memory_size(self.used), memory_size(limit)
            reason = f"used {used} of memory, over its limit of {most}"
            return "failed", Failure(reason, name="MemoryLimit"), False
        # Asked again at the end: another run may have just given way.
        if _free() is not None and self._is_largest() and (free := _free()) is not None:
            used, left = memory_size(self.used), memory_size(free)
            reason = f"ended while it used {used}: the machine had {left} left"
            return "failed", Failure(reason, name="MemoryLimit"), True
        return None

    def _memory(self) -> int:
        keeper = getattr(self.process, "keeper", None)  # of a fork: it has what all forks share
        return process.memory(self.process.family(), keeper)

    def _is_largest(self) -> bool:
        """Whether no other run uses more; while one is ended already, none is."""
        with _lock:
            others = [run for run in _running if run is not self and hasattr(run, "process")]
        for run in others:
            run.used = run._memory()
        return all(self.used >= run.used and not run.ending for run in others)

    def _end_kernel(self) -> None:
        """Kill what executes cells; the runner then keeps what was shown, and ends."""
        kernels = [event["kernel"] for event in self._journal() if "kernel" in event]
        if kernels and kernels[-1]:
            process.kill(process.descendants(kernels[-1]))
        else:
            self.process.kill()

    def _journal(self) -> list[dict[str, Any]]:
        from labkit.batch.journal import read_journal

        return read_journal(self.private / JOURNAL)

    def _died(self, code: int) -> Failure:
        if code in FULL:
            return Failure(f"no space left on device: {self.private}", name="OSError")
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return Failure(f"the process that ran the notebook {how}", lines=self._log())

    def _log(self) -> tuple[str, ...]:
        """The last lines of the log."""
        log = self.folder / LOG
        lines = plain(log.read_text(errors="replace")).splitlines() if log.exists() else []
        return tuple(lines[-LINES:])

    # --- when it is over ---------------------------------------------------------------

    def _conclude(self, verdict: Verdict | None) -> tuple[str, Failure | None, bool]:
        """The runner's answer and this process's verdict, put together; the files completed."""
        state, failure, infrastructure = "failed", None, True
        if (self.private / ANSWER).exists():
            answer = json.loads((self.private / ANSWER).read_bytes())
            state, infrastructure = answer["state"], answer["blameless"]
            given = answer["failure"]
            failure = given and Failure(**{**given, "lines": tuple(given["lines"])})
        if not (self.folder / self.name).exists():
            failure = self._recover(failure)
        if verdict is not None and (failure is None or infrastructure) and state != "done":
            state, reason, infrastructure = verdict
            failure = _within(failure, reason)
        broken = self._check_results()
        if broken is not None and state == "done":
            state, failure = "failed", broken
        return state, failure, infrastructure

    def _recover(self, failure: Failure | None) -> Failure | None:
        """Keep what a runner that is gone left of its notebook, and a page of it.

        Where it did not come to the first cell that is the notebook without outputs.
        """
        import nbformat

        hidden = self.folder / unfinished(self.name)
        try:
            content = hidden.read_bytes() if hidden.exists() else self.job.notebook
            notebook = nbformat.v4.upgrade(nbformat.reads(content.decode(), as_version=4))
        except Exception:  # it is not a notebook, which is reported already
            return failure
        events = self._journal()
        ended = {event["ended"] for event in events if "ended" in event}
        begun = {event["cell"] for event in events if "cell" in event}
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "code" and index not in begun:
                cell.outputs, cell.execution_count = [], None
            status = "completed" if index in ended else "failed" if index in begun else "pending"
            cell.metadata.setdefault("papermill", {})["status"] = status
        write(self.folder / self.name, writes(notebook))
        hidden.unlink(missing_ok=True)
        write(self.folder / f"{self.job.name}.html", page_of(notebook, self.job.name))
        found = failure_of(notebook, "")
        return found if failure is None and found.cell is not None else failure

    def _check_results(self) -> Failure | None:
        """The results are an object of JSON, or set aside."""
        path = self.folder / RESULTS_FILE
        try:
            if path.exists() and isinstance(json.loads(path.read_bytes()), dict):
                return None
            problem = "not an object"
        except (ValueError, RecursionError, OSError) as error:
            problem = str(error)
        broken = path.exists()
        if broken:
            os.replace(path, self.folder / BROKEN)
        write(path, "{}")
        if not broken:
            return None
        reason = f"{RESULTS_FILE} is no object of JSON ({problem}); it is kept as {BROKEN}"
        return Failure(one_line(reason))


def _free() -> int | None:
    """Bytes of memory that the machine has left, where they are too few."""
    machine = psutil.virtual_memory()
    reserve = min(RESERVE[0] * machine.total, RESERVE[1])
    return int(machine.available) if machine.available < reserve else None


def _within(found: Failure | None, reported: Failure) -> Failure:
    """A verdict, and where in the notebook it came."""
    if found is None or found.cell is None:
        return reported
    reason = one_line(f"cell [{found.cell}]: {reported.reason}")
    return Failure(reason, found.cell, reported.name, reported.lines or found.lines)


def _collect(folder: Path) -> dict[str, bytes]:
    """Every plain file of a folder, by its name in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder of this user's own; it goes away whatever is in it."""
    folder = tempfile.mkdtemp(prefix="labkit-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
