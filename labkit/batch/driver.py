"""Batches of notebook runs: start one, resume it, look at its status, run one notebook."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.batch.folder import Folder, Places, RunRequest, content_hash, writing
from labkit.batch.job import Job, Limits, identify
from labkit.batch.schedule import Again, Batch, drive
from labkit.batch.source import packages
from labkit.batch.workers import Pool
from labkit.core.errors import LabError
from labkit.warm.forkserver import shared, unavailable

if TYPE_CHECKING:
    from labkit.batch.plan import Grid

PathLike = str | os.PathLike[str]


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


def run_batch(
    notebook: PathLike | Iterable[PathLike],
    grid: Grid | None = None,
    out: PathLike = "runs",
    *,
    executor: Pool = None,
    jobs: int | None = None,
    retries: int = 1,
    kernel: str = "warm",
    threads: int | None = None,
    limits: Limits = Limits(),  # noqa: B008
    report_mode: bool = False,
    fast: bool = False,
    again: Again = "unfinished",
    progress: bool = True,
) -> Batch:
    """Run notebooks over a grid of parameters, each run in a folder of its own.

    What the folder has already is not run again: see `again`. Ctrl-C ends all runs and
    raises KeyboardInterrupt; `resume(out)` goes on from there.

    Args:
        notebook: one with a cell tagged `parameters`, or several.
        grid: the parameters of each run, as `grid(...)` makes them; one run without any
            where it is None.
        out: a local folder, or a URL that fsspec reaches, such as `s3://bucket/runs`.
        executor: where to run, or a function that makes an executor and is called again
            when a worker's death has broken it. On this machine's processes if None.
        jobs: how many runs at once; as many as there are cores for their threads if None.
        retries: further attempts where not the notebook is to blame, but a worker or a
            kernel that was lost.
        kernel: "warm", forked from a preloaded process, or "plain".
        threads: for each run's torch and its like; 1 if None.
        limits: seconds and bytes that a run may use.
        report_mode: hide the code in the executed notebooks.
        fast: parameters that make the notebooks quick, where they define them.
        again: which runs that have ended are run again: "unfinished" those that were
            killed, timed out or lost their worker; "failed" also those whose notebook
            failed; "all" also those that are done.
        progress: show it.

    Raises:
        LabError: everything that is wrong with notebooks and parameters, before anything
            runs; or a folder that cannot be written.
        KeyboardInterrupt: after Ctrl-C, when everything has ended.
    """
    from labkit.batch.plan import plan

    count, threads, note = share(jobs, threads, executor)
    paths = [notebook] if isinstance(notebook, str | os.PathLike) else list(notebook)
    if executor is None and kernel == "warm" and not unavailable():
        shared().start(packages(paths))  # it imports while we read and check
    planned = plan(
        paths,
        ({},) if grid is None else grid,
        kernel=kernel,
        threads=threads,
        limits=limits,
        report_mode=report_mode,
        fast=fast,
        on_note=_print_note if progress else lambda note: None,
    )
    if not planned:
        raise LabError("there is nothing to run: no notebook, or a grid without runs")
    folder = Folder(out)
    if note and progress:
        _print_note(note)
    with writing(folder):
        folder.ask(planned, _places(paths))
    return drive(
        planned, folder, executor, at_once=count, retries=retries, again=again, progress=progress
    )


def resume(
    out: PathLike,
    *,
    executor: Pool = None,
    jobs: int | None = None,
    retries: int = 1,
    failed: bool = False,
    progress: bool = True,
) -> Batch:
    """Run what a batch has not done: what is queued, was killed, timed out or lost its worker.

    A notebook that has changed since is run again, as it is now; a notebook that is gone is
    taken from the copy that was kept. A run whose notebook failed stays as it is, unless
    `failed`: the same notebook with the same parameters would fail again.

    Args:
        out: the batch's folder.
        executor: as for `run_batch`.
        jobs: as for `run_batch`.
        retries: as for `run_batch`.
        failed: run those that failed again.
        progress: show it.

    Raises:
        LabError: no batch there, or a changed notebook that no longer takes its parameters.
        KeyboardInterrupt: after Ctrl-C, when everything has ended.
    """
    folder = Folder(out)
    requested = [run for run in folder.asked() if not run.superseded]
    planned, paths, notes = _renewed(folder, requested)
    threads = max((job.threads for job in planned), default=1)
    count, _, note = share(jobs, threads, executor)
    if progress:
        for text in [*notes, *([note] if note else [])]:
            _print_note(text)
    with writing(folder):
        folder.ask(planned, paths)
    again: Again = "failed" if failed else "unfinished"
    return drive(
        planned, folder, executor, at_once=count, retries=retries, again=again, progress=progress
    )


def status(out: PathLike, *, superseded: bool = False) -> list[dict[str, Any]]:
    """The status of every run of a batch, as `Folder.statuses` tells it.

    Raises:
        FileError: there is no batch.
    """
    return Folder(out).statuses(superseded=superseded)


def run_notebook(
    notebook: PathLike,
    parameters: Mapping[str, Any] | None = None,
    out: PathLike = "runs",
    *,
    progress: bool = False,
) -> Run:
    """Run a notebook headless and keep what it showed and reported.

    A batch of one, which is run also where `out` has it already. `interactive` is set to
    False where the notebook has it.

    Args:
        notebook: a notebook with a cell tagged `parameters`.
        parameters: replacements for its defaults, as JSON values or as text.
        out: the batch's folder; the run's own is made in it.
        progress: show it.

    Raises:
        LabError: a parameter that is unknown or cannot be, before anything runs; a run
            that could not begin.
        FileError: not a notebook with parameters.
    """
    batch = run_batch(notebook, [parameters or {}], out, again="all", jobs=1, progress=progress)
    (run,) = batch.runs
    folder = Path(batch.folder.where(run["id"]))
    executed = folder / f"{run['notebook']}.ipynb"
    failure = run.get("failure")
    error = failure["reason"] if failure else None
    if not executed.exists():
        raise LabError(f"{os.fspath(notebook)} could not be run: {error}")
    results = batch.folder.read(run["id"], "results.json")
    return Run(folder, executed, executed.with_suffix(".html"), json.loads(results or b"{}"), error)


def share(jobs: int | None, threads: int | None, executor: Pool) -> tuple[int, int, str | None]:
    """How many runs at once, the threads of each, and what to say about it.

    Raises:
        LabError: more threads in all than there are cores.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise LabError(f"{name}={value} is not allowed: give a whole number from 1 on")
    from joblib import cpu_count  # knows containers, and cores that this process may not use

    cores = cpu_count()
    threads = threads or 1
    if executor is not None:
        return jobs or cores, threads, None
    jobs = jobs or max(1, cores // threads)
    if jobs * threads <= cores or threads == jobs == 1:
        return jobs, threads, None
    if threads > 1:
        raise LabError(
            f"jobs={jobs} with threads={threads} each are more than the {cores} cores here: "
            f"give jobs={max(1, cores // threads)} or threads={max(1, cores // jobs)}"
        )
    return jobs, threads, f"{jobs} runs at once share {cores} cores: each gets slower"


def _print_note(note: str) -> None:
    print(note, file=sys.stderr)


def _places(paths: Iterable[PathLike]) -> Places:
    """Where notebooks are."""
    from labkit.batch.plan import notebooks_in

    found = {}
    for path in map(Path, paths):
        for file in notebooks_in(path):
            found[file.stem, content_hash(file.read_bytes())] = str(file.resolve())
    return found


def _renewed(
    folder: Folder, requested: Sequence[RunRequest]
) -> tuple[list[Job], Places, list[str]]:
    """The runs of a batch with their notebooks as they are now; their places; what to say.

    Raises:
        LabError: all that changed notebooks do not take any more.
    """
    from labkit.batch.plan import plan

    groups: dict[tuple[str | None, str, str], list[RunRequest]] = {}
    for run in requested:
        groups.setdefault((run.path, run.copy, json.dumps(run.options)), []).append(run)
    jobs: list[Job] = []
    paths: Places = {}
    notes: dict[str, None] = {}
    problems: dict[str, None] = {}
    for (path, _, _), runs in groups.items():
        first = runs[0]
        try:
            content = Path(path or "").read_bytes()
        except OSError:
            content = folder.notebook(first)
            notes[f"{path or first.notebook} is gone: the copy that was kept is used"] = None
            path = None
        if first.path:
            paths[first.notebook, content_hash(content)] = first.path
        try:
            unchanged = identify(first.notebook, content, first.parameters) == first.id
        except (ValueError, KeyError, TypeError):  # no notebook any more: the plan says so
            unchanged = False
        if unchanged:
            jobs += [folder.job(run, content) for run in runs]
        elif path is None:  # another labkit
            same = [folder.job(run, content) for run in runs]
            jobs += [replace(j, id=identify(j.name, content, j.parameters)) for j in same]
        else:
            notes[f"{path} or labkit has changed: its runs are repeated"] = None
            job = folder.job(first, content)
            try:
                jobs += plan(
                    path,
                    [run.parameters for run in runs],
                    kernel=job.kernel,
                    threads=job.threads,
                    limits=job.limits,
                    report_mode=job.report_mode,
                    text=False,
                )
            except LabError as error:
                problems[str(error)] = None
    if problems:
        raise LabError("\n".join(problems))
    return jobs, paths, list(notes)
