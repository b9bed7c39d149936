"""Batches as text, from statuses made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labkit.batch.job import Job
from labkit.batch.show import counts, failures, planned, reason, status

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def job(id: str, name: str = "a", **parameters) -> Job:
    return Job(id, name, b"{}", parameters)


def told(id: str, state: str, name: str = "a", **more) -> dict:
    return {"id": id, "state": state, "notebook": name, "parameters": {}, **more}


def test_planned_runs_are_listed_with_what_is_given():
    text = planned([job("one", lr=0.1, interactive=False), job("two", seed=3)], [], at_once=1)
    table, _, rest = text.partition("\n\n")
    assert [line.split() for line in table.splitlines()] == [
        ["run", "state", "lr", "seed"],
        ["one", "new", "0.1"],
        ["two", "new", "3"],
    ]
    assert rest == (
        "2 runs. The time is not known: none of these notebooks has been run in this folder."
    )


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [(1, "About 50 s, 1 at once"), (2, "About 25 s, 2 at once"), (9, "About 20 s, 9 at once")],
)
def test_the_time_is_that_of_earlier_runs_of_the_same_notebook(at_once, expected):
    earlier = [
        told("x", "done", seconds=5.0),
        told("y", "done", seconds=15.0),
        told("z", "failed", seconds=1000.0),
        told("w", "done", "b", seconds=20.0),
    ]
    jobs = [job("1"), job("2"), job("3"), job("4", "b"), job("x")]
    text = planned(jobs, earlier, at_once)
    assert text.endswith(f"5 runs, 4 of them to do. {expected}, by what earlier runs took.")


def test_a_notebook_without_earlier_runs_is_named():
    text = planned([job("1"), job("2", "new")], [told("x", "done", seconds=5.0)], 1)
    assert text.endswith("About 5 s, 1 at once, by what earlier runs took; new is not among them.")


def test_what_would_be_made_again():
    jobs = [job("1"), job("2"), job("3")]
    earlier = [told("1", "done", seconds=1), told("2", "failed", seconds=1), told("3", "killed")]
    assert "3 runs, 1 of them to do." in planned(jobs, earlier, 1)
    assert "3 runs, 2 of them to do." in planned(jobs, earlier, 1, "failed")
    assert "3 runs. " in planned(jobs, earlier, 1, "all")
    assert planned(jobs[:1], earlier, 1).endswith("Nothing is left to run.")


def test_counts_of_states():
    runs = [told("1", "done"), told("2", "failed"), told("3", "done")]
    assert counts(runs) == "3 runs: 2 done, 1 failed"
    assert counts(runs[:1]) == "1 run: 1 done"


def test_status_tells_what_runs_where_and_what_failed():
    running = {"host": "box", "pid": 77, "attempt": 2, "started": "2026-01-01T11:58:30+00:00"}
    text = status(
        [
            told("one", "done"),
            told("two", "running", **running),
            told("three", "failed", failure={"reason": "cell [3]: ValueError: no"}),
            told("four", "killed", failure=None),
            told("five", "queued", problem="five/status.json is cut short"),
        ],
        NOW,
    )
    lines = text.splitlines()
    assert lines[0].startswith("5 runs: ")
    assert ["two", "running", "box", "77", "1", "min", "30", "s", "2"] in map(str.split, lines)
    assert any(line.split(maxsplit=2)[2:] == ["cell [3]: ValueError: no"] for line in lines)
    assert ["four", "killed", "killed"] in map(str.split, lines)
    assert lines[-1] == "five/status.json is cut short"


def test_failures_are_told_with_their_reason_and_not_without_end():
    wrong = [told(f"run{i}", "failed", failure={"reason": f"because {i}"}) for i in range(30)]
    lines = failures([told("fine", "done"), *wrong], "runs/opt").splitlines()
    assert lines[0] == "30 of 31 runs are not done:"
    assert lines[1] == "  run0  because 0"
    assert lines[-1] == "  … and 10 more: labkit run --status runs/opt"
    assert len(lines) == 22
    assert failures([told("fine", "done")], "runs") is None


def test_a_run_without_a_reason_has_its_state():
    assert reason(told("one", "stale")) == "stale"
