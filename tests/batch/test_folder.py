"""What was asked for, and the state of each run, as the files say it."""

from __future__ import annotations

import json
import random

import pytest

from labkit.batch.folder import Folder, content_hash
from labkit.batch.job import Limits
from labkit.core.errors import FileError
from tests.batch.stubs import CELLS, NOTEBOOK, PLACES, asked, job, jobs, place

CHANGED = json.dumps({"cells": [*CELLS, *CELLS]}).encode()


@pytest.fixture(params=PLACES)
def out(request, tmp_path):
    return place(request.param, tmp_path)


def written(folder, run, state, **more):
    driver = {"token": "nobody", "host": "there", "pid": 1, "claim": 1}
    folder.write_status(run.id, {"id": run.id, "state": state, "driver": driver, **more})


def test_what_was_asked_for_can_be_asked_again(out):
    from dataclasses import replace

    options = {"kernel": "plain", "threads": 3, "report_mode": True}
    batch = [replace(j, **options, limits=Limits(cell_seconds=1.5)) for j in jobs(3, text="é'\n")]
    folder = Folder(out)
    assert not folder.exists()
    with pytest.raises(FileError, match=r"holds no batch: batch\.json is not there"):
        folder.statuses()
    folder.ask(batch, {("stub", content_hash(NOTEBOOK)): "/a/stub.ipynb"})
    assert folder.exists()
    runs = Folder(out).asked()
    assert [folder.job(run, folder.notebook(run)) for run in runs] == batch
    assert {run.path for run in runs} == {"/a/stub.ipynb"}
    assert [s["state"] for s in folder.statuses()] == ["queued"] * 3
    assert [s["parameters"] for s in folder.statuses()] == [j.parameters for j in batch]


def test_asking_for_the_same_again_changes_nothing(out):
    folder = asked(out, jobs(3))
    before = {name: folder.read(name) for name in folder.store.names("")}
    folder.ask(jobs(2))
    assert {name: folder.read(name) for name in folder.store.names("")} == before
    folder.ask(jobs(5))
    assert len(folder.asked()) == 5
    assert [run["parameters"]["x"] for run in folder.statuses()] == list(range(5))
    assert json.loads(folder.read("batch-2.json"))["runs"][0]["parameters"] == {"x": 3}


def test_another_content_supersedes_and_the_first_may_come_back(out):
    folder = asked(out, jobs(2))
    old, new = jobs(2), [job(CHANGED, x=0), job(CHANGED, x=1)]
    folder.ask(new)
    assert [run.id for run in folder.asked() if run.superseded] == [j.id for j in old]
    assert [s["id"] for s in folder.statuses()] == [j.id for j in new]
    states = [s["state"] for s in folder.statuses(superseded=True)]
    assert states == ["superseded"] * 2 + ["queued"] * 2
    folder.ask(old[:1])
    assert {run.id for run in folder.asked() if run.superseded} == {old[1].id, new[0].id}


def test_states_are_told_with_what_is_known_of_the_driver(out):
    batch = jobs(6)
    folder = asked(out, batch)
    for run, state in zip(batch, ["queued", "running", "done", "failed", "killed"], strict=False):
        written(folder, run, state)
    states = [s["state"] for s in folder.statuses()]
    assert states == ["queued", "stale", "done", "failed", "killed", "queued"]


def test_no_torn_status_is_believed(tmp_path):
    """Cut at every length, and with bytes changed at random."""
    (run,) = jobs(1)
    folder = asked(tmp_path, [run])
    written(folder, run, "done", seconds=1.5)
    file = tmp_path / run.id / "status.json"
    whole = file.read_bytes()
    for length in range(len(whole) - 1):
        file.write_bytes(whole[:length])
        assert folder.status(run.id) is None
        (told,) = folder.statuses()
        assert told["state"] == "queued"
        assert told["problem"].startswith(f"{file} is not a status: cut short")
    file.write_bytes(whole)
    assert folder.status(run.id)["seconds"] == 1.5


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"null", "is not a status"),
        (b"[1]", "is not a status"),
        (b"\xff\xfe\x00", "is not a status"),
        (b'{"state": "done"}', "is not a status"),
        (b"[" * 100_000, "is not a status"),
        (b'{"id": "other", "state": "done", "driver": {}}', "is of another run, other"),
        (b'{"id": "ID", "state": "fine", "driver": {}}', "has the unknown state 'fine'"),
        (b'{"id": "ID", "state": ["done"], "driver": {}}', "has the unknown state"),
        (b'{"id": "ID", "state": "done", "driver": {"token": 1, "claim": 2}}', "names no driver"),
        (b'{"id": "ID", "state": "done", "driver": 7}', "is not a status"),
    ],
)
def test_a_foreign_status_is_not_believed(content, problem, tmp_path):
    (run,) = jobs(1)
    folder = asked(tmp_path, [run])
    (tmp_path / run.id).mkdir()
    (tmp_path / run.id / "status.json").write_bytes(content.replace(b"ID", run.id.encode()))
    (told,) = folder.statuses()
    assert told["state"] == "queued"
    assert problem in told["problem"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"runs": 7}', '{"runs": [{}]}', "null", '"text"']
)
def test_a_foreign_batch_is_refused(content, tmp_path):
    (tmp_path / "batch.json").write_text(content)
    for folder in (lambda: Folder(tmp_path).asked(), lambda: Folder(tmp_path).ask(jobs(1))):
        with pytest.raises(FileError, match=r"batch\.json does not say what was requested"):
            folder()
    assert (tmp_path / "batch.json").read_text() == content


def test_two_who_ask_at_once_are_both_heard(tmp_path, monkeypatch):
    """Another driver asks between our look and our writing."""
    folder, other = Folder(tmp_path), Folder(tmp_path)
    create = folder.store.create

    def late(name, data):
        monkeypatch.undo()
        other.ask(jobs(2))
        return create(name, data)

    monkeypatch.setattr(folder.store, "create", late)
    folder.ask(jobs(3))
    assert [run.parameters["x"] for run in folder.asked()] == [0, 1, 2]
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["batch-2.json", "batch.json"]


def test_files_of_runs(out):
    batch = jobs(3)
    folder = asked(out, batch)
    for i, run in enumerate(batch[:2]):
        folder.deliver(run.id, {"results.json": b"%d" % i, "sub/a.png": b"png"})
    written(folder, batch[0], "done")
    found = folder.read_all([j.id for j in batch], "results.json")
    assert found == {batch[0].id: b"0", batch[1].id: b"1"}
    assert folder.files(batch[0].id) == ["results.json", "sub/a.png"]
    assert folder.read(batch[0].id, "sub/a.png") == b"png"
    assert folder.where(batch[0].id, "log.txt").endswith(f"/runs/{batch[0].id}/log.txt")
    folder.write("results.csv", "x\n")
    assert folder.read("results.csv") == b"x\n"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..", "a\\..\\..\\x"])
def test_no_file_leads_out_of_its_run(name, tmp_path):
    with pytest.raises(FileError, match="no name of a file"):
        Folder(tmp_path / "runs").deliver("run", {"good": b"", name: b""})
    assert not any(tmp_path.rglob("*"))


def test_the_copy_of_a_notebook_that_is_gone_is_named(tmp_path):
    folder = asked(tmp_path, jobs(1))
    (run,) = folder.asked()
    (tmp_path / run.copy).unlink()
    with pytest.raises(FileError, match="the copy of a notebook, is gone"):
        folder.notebook(run)


def test_ten_thousand_runs_are_one_small_file(tmp_path):
    """Notebooks and options stand there once; nothing is quadratic."""
    batch = jobs(10_000, optimizer="adam")
    random.Random(0).shuffle(batch)
    folder = asked(tmp_path, batch)
    assert [run.id for run in folder.asked()] == [j.id for j in batch]
    assert (tmp_path / "batch.json").stat().st_size < 300 * len(batch)
