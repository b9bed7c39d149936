"""Batches as a person asks for them: start, look, change something, resume."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import nbformat
import pytest

from labkit.batch import job as job_module
from labkit.batch import perform
from labkit.batch.driver import resume, run_batch, run_notebook, share, status
from labkit.batch.job import Limits
from labkit.core.errors import FileError, LabError
from labkit.core.executors import SynchronousExecutor
from tests.batch.notebooks import REPORT, make, outputs
from tests.batch.stubs import outcome

PARAMETERS = "interactive = True\nx = 1\nname = 'a'"
GRID = [{"x": 0}, {"x": 1}, {"x": 2}]


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.ipynb"
    path.write_bytes(make("x + 1", parameters=PARAMETERS))
    return path


@pytest.fixture
def performed(monkeypatch):
    """The jobs that are performed, in no time."""
    jobs = []
    monkeypatch.setattr(perform, "perform", lambda job: jobs.append(job) or outcome())
    return jobs


def values(jobs):
    return sorted(job.parameters["x"] for job in jobs)


# --- with notebooks ----------------------------------------------------------------------


def test_a_batch_of_notebooks(tmp_path):
    path = tmp_path / "adds up.ipynb"
    cells = [REPORT, "open('here.txt', 'w').close()", "report(sum=x + 1, interactive=interactive)"]
    path.write_bytes(make(*cells, "assert x != 1", parameters=PARAMETERS))
    batch = run_batch(path, GRID, tmp_path / "my runs", jobs=2, progress=False)
    assert batch.counts == {"done": 2, "failed": 1}
    (failed,) = batch.failed
    assert failed["parameters"] == {"x": 1, "interactive": False}
    assert failed["failure"]["name"] == "AssertionError"
    for run in batch.runs:
        folder = tmp_path / "my runs" / run["id"]
        assert json.loads((folder / "status.json").read_text()) == run
        left = {"adds up.ipynb", "adds up.html", "results.json", "log.txt", "here.txt"}
        assert set(batch.folder.files(run["id"])) == left
        assert (
            json.loads((folder / "results.json").read_text())["sum"] == run["parameters"]["x"] + 1
        )
    assert status(tmp_path / "my runs") == batch.runs
    again = resume(tmp_path / "my runs", progress=False)
    assert again.runs == batch.runs, "nothing that was left to do"


def test_one_notebook(tmp_path):
    path = tmp_path / "one.ipynb"
    path.write_bytes(make(REPORT, "report(x=x)\nprint(x)", "1 / (x - 3)", parameters=PARAMETERS))
    run = run_notebook(path, {"x": "7"}, tmp_path / "runs")
    assert (run.results, run.error) == ({"x": 7}, None)
    assert run.folder.parent == tmp_path / "runs"
    assert run.notebook == run.folder / "one.ipynb"
    assert run.page == run.folder / "one.html"
    assert outputs(nbformat.read(run.notebook, as_version=4))[3] == "7\n"
    before = run.notebook.stat().st_ino
    assert run_notebook(path, {"x": 7}, tmp_path / "runs").folder == run.folder
    assert run.notebook.stat().st_ino != before, "who asks for a run gets one"
    run = run_notebook(path, {"x": 3}, tmp_path / "runs")
    assert run.error == "cell [5]: ZeroDivisionError: division by zero"
    assert run.results == {"x": 3}


def test_nothing_is_made_before_everything_is_right(small, tmp_path):
    for given, match in [({"y": 1}, "'y' is not a parameter"), ({"x": "a"}, "is not allowed")]:
        with pytest.raises(LabError, match=match):
            run_notebook(small, given, tmp_path / "runs")
    with pytest.raises(LabError, match="nothing to run"):
        run_batch(small, [], tmp_path / "runs")
    with pytest.raises(LabError, match=r"jobs=0 .* whole number"):
        run_batch(small, GRID, tmp_path / "runs", jobs=0)
    with pytest.raises(LabError, match="is not there"):
        run_notebook(tmp_path / "b.ipynb", out=tmp_path / "runs")
    with pytest.raises(LabError, match="cannot be reached"):
        run_batch(small, out="nosuch://runs")
    assert not (tmp_path / "runs").exists()


# --- what is run again -------------------------------------------------------------------


def test_what_was_asked_for_is_what_is_performed(small, tmp_path, performed):
    limits = Limits(cell_seconds=3, memory=10**9)
    run_batch(
        small, GRID, tmp_path / "runs", jobs=1, kernel="plain", limits=limits, report_mode=True,
        progress=False,
    )  # fmt: skip
    assert values(performed) == [0, 1, 2]
    (job, *_) = performed
    assert job.notebook == small.read_bytes()
    assert (job.name, job.kernel, job.limits) == ("small", "plain", limits)
    assert (job.threads, job.report_mode) == (1, True)
    assert job.parameters["interactive"] is False


def test_more_of_the_same_runs_what_is_new(small, tmp_path, performed):
    out = tmp_path / "runs"
    run_batch(small, GRID[:2], out, progress=False)
    batch = run_batch(small, GRID, out, progress=False)
    assert values(performed) == [0, 1, 2]
    assert [run["parameters"]["x"] for run in batch.runs] == [0, 1, 2]
    run_batch(small, GRID[:1], out, again="all", progress=False)
    assert values(performed) == [0, 0, 1, 2]
    assert len(status(out)) == 3


def test_resume_runs_a_changed_notebook_as_it_is_now(small, tmp_path, performed, capsys):
    out = tmp_path / "runs"
    before = run_batch(small, GRID, out, progress=False)
    small.write_bytes(make("x + 2", parameters=PARAMETERS))
    after = resume(out)
    assert "small.ipynb or labkit has changed" in capsys.readouterr().err
    assert len(performed) == 6
    assert performed[-1].notebook == small.read_bytes()
    assert not {run["id"] for run in before.runs} & {run["id"] for run in after.runs}
    told = [(run["state"], run["parameters"]["x"]) for run in status(out, superseded=True)]
    assert told == [("superseded", x) for x in range(3)] + [("done", x) for x in range(3)]
    assert status(out) == after.runs
    assert all((out / run["id"]).is_dir() for run in before.runs), "nothing is deleted"
    resume(out, progress=False)
    assert len(performed) == 6


def test_a_notebook_that_was_only_opened_has_not_changed(small, tmp_path, performed):
    run_batch(small, GRID, tmp_path / "runs", progress=False)
    notebook = nbformat.read(small, as_version=4)
    notebook.metadata["language_info"] = {"name": "python", "version": "3.12.1"}
    nbformat.write(notebook, small)
    resume(tmp_path / "runs", progress=False)
    assert len(performed) == 3


def test_a_notebook_that_is_gone_is_run_from_its_copy(small, tmp_path, monkeypatch, capsys):
    content, seen = small.read_bytes(), []
    monkeypatch.setattr(perform, "perform", lambda job: outcome("killed", "out of memory", True))
    run_batch(small, GRID, tmp_path / "runs", retries=0, progress=False)
    monkeypatch.setattr(perform, "perform", lambda job: seen.append(job) or outcome())
    small.unlink()
    assert resume(tmp_path / "runs").counts == {"done": 3}
    assert {job.notebook for job in seen} == {content}
    assert capsys.readouterr().err.count("is gone: the copy that was kept is used") == 1


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_another_labkit_runs_all_again(small, tmp_path, performed, monkeypatch, gone):
    out = tmp_path / "runs"
    before = run_batch(small, GRID, out, progress=False)
    monkeypatch.setattr(job_module, "__version__", "99")
    if gone:
        small.unlink()
    after = resume(out, progress=False)
    assert values(performed) == [0, 0, 1, 1, 2, 2]
    assert not {run["id"] for run in before.runs} & {run["id"] for run in after.runs}


def test_a_changed_notebook_that_takes_other_parameters(small, tmp_path, performed):
    out = tmp_path / "runs"
    run_batch(small, GRID, out, progress=False)
    small.write_bytes(make(parameters="y = 1"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(LabError, match="'x' is not a parameter"):
        resume(out, progress=False)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert len(performed) == 3


def test_failed_runs_are_resumed_where_that_is_asked_for(small, tmp_path, monkeypatch):
    out, seen = tmp_path / "runs", []
    monkeypatch.setattr(perform, "perform", lambda job: outcome("failed", "cell [1]: no"))
    run_batch(small, GRID, out, progress=False)
    monkeypatch.setattr(perform, "perform", lambda job: seen.append(job) or outcome())
    assert resume(out, progress=False).counts == {"failed": 3}
    assert seen == []
    assert resume(out, failed=True, progress=False).counts == {"done": 3}


def test_there_has_to_be_a_batch(tmp_path):
    for look in (resume, status):
        with pytest.raises(FileError, match="holds no batch"):
            look(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_several_notebooks_and_a_store_elsewhere(tmp_path, performed):
    paths = []
    for folder in ("a", "b"):  # of the same name
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "small.ipynb")
        paths[-1].write_bytes(make(f"'{folder}'", parameters=PARAMETERS))
    out = "memory://several/runs"
    batch = run_batch(paths, GRID, out, executor=SynchronousExecutor(), progress=False)
    assert batch.counts == {"done": 6}
    assert len(status(out)) == 6, "neither supersedes the other"
    assert {run.path for run in batch.folder.asked()} == {str(path) for path in paths}
    assert {job.folder for job in performed} == {None}


# --- what a machine has ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jobs", "threads", "expected"),
    [
        (None, None, (8, 1, False)),
        (None, 3, (2, 3, False)),
        (None, 8, (1, 8, False)),
        (3, None, (3, 1, False)),
        (4, 2, (4, 2, False)),
        (9, None, (9, 1, True)),
        (9, 1, (9, 1, True)),
        (5, 2, "give jobs=4 or threads=1"),
        (None, 9, "give jobs=1 or threads=8"),
    ],
)
def test_jobs_and_threads_share_the_cores(jobs, threads, expected, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    if isinstance(expected, str):
        with pytest.raises(LabError, match=expected):
            share(jobs, threads, None)
    else:
        *found, note = share(jobs, threads, None)
        assert (*found, note is not None) == expected
    assert share(None, threads, SynchronousExecutor())[1:] == (threads or 1, None)


def test_a_home_folder(monkeypatch, tmp_path, small, performed):
    monkeypatch.setenv("HOME", str(tmp_path))
    run_batch(small, GRID[:1], Path("~/kept"), progress=False)
    assert (tmp_path / "kept" / "batch.json").exists()
