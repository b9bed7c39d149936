"""A run's status file, whole or not."""

from __future__ import annotations

import json

import pytest

from labkit.batch.states import ENDED, STATES, read_status

GOOD = {"id": "a-1", "state": "done", "driver": {"token": "t", "claim": 1}}


@pytest.mark.parametrize("state", STATES)
def test_a_status_of_every_state_is_read_as_it_is(state):
    status = {**GOOD, "state": state, "seconds": 1.5}
    assert read_status(json.dumps(status).encode(), "a-1") == (status, None)


def test_where_there_is_no_file_nothing_is_wrong():
    assert read_status(None, "a-1") == (None, None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not a status"),
        (json.dumps(GOOD)[:-5].encode(), "is not a status: cut short"),
        (b"[1]", "is not a status"),
        (b"\xff\xfe", "is not a status"),
        (b"[" * 100_000, "is not a status"),
        (json.dumps({**GOOD, "id": "b-2"}).encode(), "is of another run, b-2"),
        (json.dumps({**GOOD, "state": "asleep"}).encode(), "has the unknown state 'asleep'"),
        (json.dumps({**GOOD, "driver": {"token": 1, "claim": 1}}).encode(), "names no driver"),
        (json.dumps({**GOOD, "driver": {"token": "t", "claim": "1"}}).encode(), "names no driver"),
    ],
)
def test_a_file_that_cannot_be_believed_is_no_status(data, problem):
    status, wrong = read_status(data, "a-1")
    assert status is None
    assert wrong.startswith(problem)


def test_a_run_that_waits_or_runs_has_not_ended():
    assert set(STATES) - set(ENDED) == {"queued", "running"}
