"""From the options of `labkit run` to a batch, and the summary it prints at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.batch import show
from labkit.batch.driver import resume, run_batch, share
from labkit.batch.folder import Folder
from labkit.batch.grid import GridSpec, read_grid, read_options, replaced
from labkit.batch.job import Limits
from labkit.batch.plan import plan
from labkit.batch.report import report
from labkit.batch.schedule import Again, Batch
from labkit.batch.values import MOST_RUNS
from labkit.batch.workers import Pool
from labkit.core.table import Table
from labkit.warm.forkserver import unavailable

Options = Mapping[str, Any]


def grid_spec(options: Options) -> GridSpec:
    """The grid of `-p`, `--seeds`, `--grid` and `--most`.

    Raises:
        LabError: what cannot be read.
    """
    given = read_options(options["parameters"], options["seeds"])
    if options["grid"]:
        given = replaced(read_grid(options["grid"]), given)
    return replace(given, most=options["most"] or MOST_RUNS)


def dry_run(notebooks: Sequence[Path], grid: GridSpec, options: Options) -> str:
    """The runs that `start` would make, and how long they would take; nothing is written.

    Raises:
        LabError: as for `start`.
    """
    cluster = ThreadPoolExecutor if options["dask"] else None  # any executor: it is not used
    at_once, _, _ = share(options["jobs"], options["threads"], cluster)
    notes: list[str] = []
    jobs = plan(notebooks, grid, fast=options["fast"], on_note=notes.append)
    folder = Folder(options["out"])
    statuses = folder.statuses() if folder.exists() else []
    return "\n".join([*notes, show.planned(jobs, statuses, at_once, _again(options))])


def start(notebooks: Sequence[Path], grid: GridSpec, options: Options) -> Batch:
    """Run notebooks over a grid.

    Raises:
        LabError: everything that is wrong, before anything runs.
        KeyboardInterrupt: after Ctrl-C, when everything has ended.
    """
    if options["kernel"] == "warm" and not options["dask"] and (reason := unavailable()):
        print(f"kernels are plain ones: {reason}", file=sys.stderr)
    with _executor(options) as executor:
        return run_batch(
            notebooks,
            grid,
            options["out"],
            executor=executor,
            jobs=options["jobs"],
            retries=options["retries"],
            kernel=options["kernel"],
            threads=options["threads"],
            limits=Limits(
                cell_seconds=options["cell_timeout"],
                run_seconds=options["timeout"],
                memory=options["memory"],
            ),
            report_mode=options["report_mode"],
            fast=options["fast"],
            again=_again(options),
        )


def go_on(options: Options) -> Batch:
    """Run what a batch has not done.

    Raises:
        LabError: there is no batch, or its notebooks have changed too much.
        KeyboardInterrupt: after Ctrl-C, when everything has ended.
    """
    with _executor(options) as executor:
        return resume(
            options["resume"],
            executor=executor,
            jobs=options["jobs"],
            retries=options["retries"],
            failed=options["failed"],
        )


def _again(options: Options) -> Again:
    return "all" if options["again"] else "failed" if options["failed"] else "unfinished"


@contextmanager
def _executor(options: Options) -> Iterator[Pool]:
    """The cluster's, where one is given."""
    if options["dask"] is None:
        yield None
        return
    from labkit.batch.cluster import dask_executor

    with dask_executor(options["dask"], gpus=options["gpu"], memory=options["memory"]) as executor:
        yield executor


def done_before(out: str) -> set[str]:
    """The runs that a folder has already."""
    folder = Folder(out)
    found = folder.statuses() if folder.exists() else []
    return {status["id"] for status in found if status["state"] == "done"}


def outcome(batch: Batch, before: set[str]) -> str:
    """What came of a batch: of one run its results, else counts and where the table is."""
    lines = []
    earlier = sum(run["id"] in before for run in batch.runs)
    if len(batch.runs) == 1:
        (run,) = batch.runs
        results = json.loads(batch.folder.read(run["id"], "results.json") or b"{}")
        if results and isinstance(results, dict):
            rows = [{"result": name, "value": value} for name, value in results.items()]
            lines.append(repr(Table(rows)))
        name = f"{run['notebook']}.ipynb"
        lines.append(f"notebook  {batch.folder.where(run['id'], name)}")
        lines.append(f"page      {batch.folder.where(run['id'], run['notebook'] + '.html')}")
        if earlier:
            lines.append("It was done before and was not run again; --again runs it once more.")
    else:
        page = report(batch.folder.out)
        past = f" ({earlier:,} of them before)" if earlier else ""
        lines.append(show.counts(batch.runs) + past)
        lines.append(f"results  {batch.folder.where('results.csv')}")
        lines.append(f"report   {page}")
    return "\n".join(lines)


def failures(batch: Batch) -> str | None:
    """What is not done and why; None where everything is."""
    if len(batch.runs) > 1:
        return show.failures(batch.runs, batch.folder.out)
    wrong = [run for run in batch.runs if run["state"] != "done"]
    return f"{wrong[0]['notebook']} {wrong[0]['state']}: {show.reason(wrong[0])}" if wrong else None
