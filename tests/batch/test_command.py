"""From the options of `labkit run` to a batch, and its summary."""

from __future__ import annotations

import json

import pytest

from labkit.batch import command
from labkit.batch.schedule import Batch
from labkit.batch.values import MOST_RUNS
from labkit.core.errors import LabError
from tests.batch.stubs import asked, jobs

OPTIONS = {
    "parameters": ("lr=0.1,0.2",),
    "seeds": None,
    "grid": None,
    "most": None,
    "again": False,
    "failed": False,
}


def test_the_command_line_replaces_what_a_file_says(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("parameters: {lr: 1, steps: 5}\nseeds: 2\n")
    found = command.grid_spec({**OPTIONS, "grid": file, "seeds": 3})
    assert (found.texts, found.values["steps"], found.seeds) == ({"lr": ["0.1,0.2"]}, 5, 3)
    assert found.most == MOST_RUNS
    assert command.grid_spec({**OPTIONS, "most": 7}).most == 7


def test_what_cannot_be_read_is_refused():
    with pytest.raises(LabError, match="write NAME=VALUE"):
        command.grid_spec({**OPTIONS, "parameters": ("lr",)})


def batch(tmp_path, *states: str) -> Batch:
    planned = jobs(len(states))
    statuses = [
        {"id": job.id, "notebook": job.name, "state": state, "failure": {"reason": "why"}}
        for job, state in zip(planned, states, strict=True)
    ]
    return Batch(asked(tmp_path / "runs", planned), statuses)


def test_one_run_is_summed_up_by_its_results(tmp_path):
    done = batch(tmp_path, "done")
    (run,) = done.runs
    done.folder.deliver(run["id"], {"results.json": json.dumps({"accuracy": 0.5}).encode()})
    lines = command.outcome(done, set()).splitlines()
    assert "accuracy" in "\n".join(lines)
    assert lines[-1] == f"page      {tmp_path / 'runs' / run['id'] / 'stub.html'}"
    assert "done before" in command.outcome(done, {run["id"]})
    assert command.failures(done) is None


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (["failed"], "stub failed: why"),
        (["done", "timed out"], "1 of 2 runs are not done:"),
        (["done", "done"], None),
    ],
)
def test_what_is_not_done_and_why(tmp_path, states, message):
    found = command.failures(batch(tmp_path, *states))
    assert (found and found.splitlines()[0]) == message


def test_a_folder_without_a_batch_has_nothing_done(tmp_path):
    assert command.done_before(str(tmp_path)) == set()
