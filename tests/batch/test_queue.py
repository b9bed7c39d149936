"""The runs that wait: in which order they come, and which must run alone."""

from __future__ import annotations

import pytest

from labkit.batch import queue
from labkit.batch.job import Failure
from labkit.batch.queue import Attempt, Queue
from tests.batch.stubs import jobs


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        seconds = 100.0

    monkeypatch.setattr(queue.time, "monotonic", lambda: Clock.seconds)
    return Clock


def lost(job, tries: int = 2) -> Attempt:
    return Attempt(job, number=tries, tries=tries, failure=Failure("worker lost"))


def test_new_runs_come_in_the_order_of_asking(now):
    waiting, batch = Queue(), jobs(3)
    for job in batch:
        waiting.add(job)
    assert waiting
    assert [waiting.next(idle=False) for _ in range(3)] == batch
    assert not waiting
    assert waiting.next(idle=True) is None


def test_a_further_attempt_waits_twice_as_long_each_time_and_then_comes_first(now):
    first, second, new = jobs(3)
    waiting = Queue()
    waiting.add_retry(lost(second, tries=3))
    waiting.add_retry(lost(first, tries=2))
    assert waiting.next(idle=True) is None
    assert waiting.seconds_to_retry() == queue.BACKOFF
    now.seconds += queue.BACKOFF
    waiting.add(new)
    assert waiting.next(idle=False).job == first
    assert waiting.next(idle=False) == new
    assert waiting.seconds_to_retry() == pytest.approx(queue.BACKOFF)
    now.seconds += queue.BACKOFF
    assert waiting.next(idle=False).job == second
    assert waiting.seconds_to_retry() is None


def test_a_suspect_runs_alone_when_nothing_else_is_left(now):
    suspect, retried, new = jobs(3)
    waiting = Queue()
    waiting.add_suspect(lost(suspect))
    waiting.add_retry(lost(retried))
    waiting.add(new)
    assert waiting.next(idle=True) == new
    assert waiting.next(idle=True) is None, "a further attempt is still to come"
    now.seconds += queue.BACKOFF
    assert not waiting.next(idle=True).alone
    assert waiting.next(idle=False) is None, "something runs"
    found = waiting.next(idle=True)
    assert (found.job, found.alone) == (suspect, True)
    assert not waiting


def test_a_run_of_another_driver_is_looked_at_now_and_then(now):
    (job,) = jobs(1)
    waiting = Queue()
    for _ in range(3):
        waiting.add_elsewhere(job)
        assert (waiting.elsewhere, bool(waiting)) == (1, True)
        assert waiting.next(idle=True) == job
        waiting.add_elsewhere(job)
        assert waiting.next(idle=True) is None, "it was looked at a moment ago"
        waiting.clear()
        now.seconds += queue.OTHERS


def test_what_is_cleared_are_the_runs_that_were_claimed(now):
    new, other, suspect, retried = jobs(4)
    waiting = Queue()
    waiting.add(new)
    waiting.add_elsewhere(other)
    waiting.add_suspect(lost(suspect))
    waiting.add_retry(lost(retried))
    assert {attempt.job.id for attempt in waiting.clear()} == {suspect.id, retried.id}
    assert not waiting


def test_the_attempt_after_one_that_was_lost():
    (job,) = jobs(1)
    after = Attempt(job, number=5, tries=2, alone=True, begun=True).next(Failure("why"))
    assert after == Attempt(job, number=6, tries=3, failure=Failure("why"))
