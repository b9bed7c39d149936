"""Ten thousand runs of a one-second notebook, without the seconds: what the driver needs.

An executor with 256 places takes the runs and is done with each at once, with the files of
one real run of a small notebook, made first. So all that is measured is labkit's: claims,
status files, results, the table, the report. The files come back as bytes, as from a
cluster, and the driver writes them. Of the page only its first 20 kB are written, since
ten thousand copies of plotly.js are a test of the disk; a batch of its own has whole pages.
Each batch is a process of its own, whose peak memory is the system's figure. There is no
peer; the ratio is that of ten thousand runs to a thousand, for one run. At last, calls that
do nothing go through a real Dask scheduler.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from benchmarks import batch
from benchmarks.measure import Row

SIZES = (1_000, 10_000)
WHOLE = 200  # runs whose pages are whole
GROWTH = 2  # of one run's cost in ten times the runs: ten were it quadratic
SLOTS = 256
PAGE = 20_000  # bytes
CALLS = 400  # through a real scheduler
EXTRA = """
import labkit
labkit.report(loss=losses[-1], steps=len(losses), curve=losses[::10])
"""


class Instant(Executor):
    """A cluster on which a run takes no time, and gives what another one gave."""

    slots = SLOTS

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Done."""
        future: Future[Any] = Future()
        future.set_result(self.outcome)
        return future


def sample(folder: Path) -> Any:
    """The outcome of one real run."""
    import nbformat

    from labkit.batch.perform import perform
    from labkit.batch.plan import plan

    path = batch.notebook(folder)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(EXTRA))
    nbformat.write(notebook, path)
    (job,) = plan(path)
    outcome = perform(job)
    assert outcome.state == "done", outcome.failure
    return outcome


def simulate(folder: str, runs: int, whole: bool) -> dict[str, Any]:
    """One batch in this process, its figures in bytes and seconds."""
    from dataclasses import replace

    from labkit.batch import Folder, results, schedule
    from labkit.batch.plan import plan
    from labkit.batch.report import report

    place = Path(folder)
    outcome = pickle.loads((place / "outcome").read_bytes())
    if not whole:
        files = outcome.files
        cut = {name: files[name][:PAGE] for name in files if name.endswith(".html")}
        outcome = replace(outcome, files={**files, **cut})
    out = place / f"out-{runs}-{whole}"
    for name in ("pandas", "pyarrow"):  # imports are no run's cost
        importlib.import_module(name)
    plan(place / "small.ipynb", [{"seed": 0, "lr": 0.1}])
    schedule._write_table = lambda folder: None  # type: ignore[attr-defined]: measured apart
    took: dict[str, Any] = {"runs": runs, "base": peak()}

    def clock(name: str, work: Callable[[], Any]) -> Any:
        began, busy = time.perf_counter(), time.process_time()
        found = work()
        took[name] = time.perf_counter() - began
        took[f"{name}_cpu"] = time.process_time() - busy  # the rest waits for the disk
        return found

    grid = [{"seed": seed, "lr": lr} for seed in range(runs // 10) for lr in LRS]
    jobs = clock("plan", lambda: plan(place / "small.ipynb", grid))
    kept = Folder(out)
    clock("ask", lambda: kept.ask(jobs))
    done = clock("drive", lambda: schedule.drive(jobs, kept, Instant(outcome), progress=False))
    assert done.counts == {"done": runs}
    took["memory"] = peak()
    took["batch_bytes"] = (out / "batch.json").stat().st_size
    resumed = []
    for _ in range(3):  # a thousand take a tenth of a second, and one pass of the collector counts
        clock("resume", lambda: schedule.drive(jobs, kept, Instant(None), progress=False))
        resumed.append((took["resume_cpu"], took["resume"]))
    took["resume_cpu"], took["resume"] = sorted(resumed)[1]
    clock("status", kept.statuses)
    clock("load", lambda: results.load(out))
    clock("table", lambda: results.write(out))
    page = clock("report", lambda: Path(report(out)))
    took["memory_report"] = peak()
    took["report_bytes"] = page.stat().st_size
    took["csv_bytes"] = (out / "results.csv").stat().st_size
    return took | counted(out)


LRS = [10 ** (-k / 4) for k in range(10)]


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def counted(out: Path) -> dict[str, int]:
    """Files, folders, bytes in them, and what they take on the disk."""
    found = {"files": 0, "folders": 0, "bytes": 0, "disk": 0}
    for top, folders, names in os.walk(out):
        found["folders"] += len(folders)
        found["files"] += len(names)
        for name in names:
            about = os.stat(os.path.join(top, name))
            found["bytes"] += about.st_size
            found["disk"] += about.st_blocks * 512
    return found


def measure(folder: Path, runs: int, whole: bool = False) -> dict[str, Any]:
    """`simulate` in a process of its own."""
    arguments = [str(folder), str(runs), "whole" if whole else "cut"]
    command = [sys.executable, "-m", "benchmarks.batch_scale", *arguments]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return dict(json.loads(told.splitlines()[-1]))


def through_dask(size: int) -> float:
    """Seconds for each of many calls that return `size` bytes: a scheduler and one worker, each
    a process here, and nothing to do for the call itself.
    """
    from labkit.batch.cluster import dask_executor

    dask = str(Path(sys.executable).with_name("dask"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:

        def start(*command: str) -> subprocess.Popen[bytes]:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return subprocess.Popen([dask, *command], cwd=folder, **quiet)  # type: ignore[call-overload]

        where = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
        started = [
            start("scheduler", *where, "--dashboard-address", "127.0.0.1:0"),
            start(
                "worker", address, "--nthreads", "4", "--no-dashboard", "--local-directory", folder
            ),
        ]
        try:
            with dask_executor(address, connect_seconds=60) as executor:
                for count in (100, CALLS):  # the first are for warming up
                    began = time.perf_counter()
                    calls = [executor.submit(bytes, size) for _ in range(count)]
                    assert all(len(call.result()) == size for call in calls)
                    took = (time.perf_counter() - began) / count
                    del calls
                return took
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


def figures(sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """All that is measured, by size; a sample's files, and the row with whole pages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcome = sample(folder)
        (folder / "outcome").write_bytes(pickle.dumps(outcome))
        found: dict[str, Any] = {str(runs): measure(folder, runs) for runs in sizes}
        found["whole"] = measure(folder, WHOLE, whole=True)
        size = sum(map(len, outcome.files.values()))
        found["dask"] = {"none": through_dask(0), "files": through_dask(size), "bytes": size}
        found["sample"] = {name: len(data) for name, data in outcome.files.items()}
    return found


def rows() -> list[Row]:
    """What ten thousand runs need."""
    found = figures()
    print(json.dumps(found, indent=1))
    small, large = (found[str(runs)] for runs in SIZES)

    def row(what: str, ours: str, ratio: float | None, target: str, met: bool) -> Row:
        return Row(f"{large['runs']:,} runs: {what}", ours, "", ratio, target, met)

    def each(name: str) -> tuple[float, float]:
        """Of one run, and how that has grown."""
        return large[name] / large["runs"], large[name] * small["runs"] / large["runs"] / small[
            name
        ]

    cost, _ = each("drive")
    busy, growth = each("drive_cpu")
    again, slower = each("resume_cpu")
    memory = large["memory"] - large["base"]
    size, larger = each("report_bytes")
    return [
        row(
            "driver's time for one",
            f"{1000 * cost:.1f} ms, of CPU {1000 * busy:.1f}",
            growth,
            f"CPU at most 3 ms, ratio at most {GROWTH}",
            busy <= 0.003 and growth <= GROWTH,
        ),
        row(
            "resume, where all are done, CPU for one",
            f"{1000 * again:.2f} ms",
            slower,
            f"at most 1 ms, ratio at most {GROWTH}",
            again <= 0.001 and slower <= GROWTH,
        ),
        row(
            "driver's memory above its imports",
            f"{memory / 2**20:.0f} MiB",
            None,
            "at most 256 MiB",
            memory <= 256 * 2**20,
        ),
        row(
            "files for one",
            f"{large['files'] / large['runs']:.1f}",
            None,
            "at most 8",
            large["files"] <= 8 * large["runs"],
        ),
        row(
            "`load`",
            f"{large['load']:.1f} s",
            each("load")[1],
            "at most 10 s",
            large["load"] <= 10,
        ),
        row(
            "the report",
            f"{size * large['runs'] / 2**20:.1f} MiB in {large['report']:.1f} s",
            larger,
            "at most 50 MiB",
            large["report_bytes"] <= 50 * 2**20,
        ),
        Row(
            "a call through a Dask scheduler and one worker",
            f"{1000 * found['dask']['none']:.1f} ms",
            "",
            None,
            "at most 10 ms",
            found["dask"]["none"] <= 0.010,
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(simulate(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "whole")))
