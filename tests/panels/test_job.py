from __future__ import annotations

import math
import threading

import pytest

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.panels.job import Job


def test_of_what_is_requested_meanwhile_only_the_last_is_done():
    began, may_end = threading.Event(), threading.Event()
    worked, saw = [], []

    def work(what: int) -> None:
        worked.append(what)
        began.set()
        assert may_end.wait(20)
        saw.append(job.overtaken)

    job = Job(ThreadExecutor("test"), work, failed=print)
    job.request(1)
    assert began.wait(20)
    assert (job.running, job.state, job.overtaken) == (True, "running", False)
    for what in (2, 3, 4):
        job.request(what)
    assert job.overtaken
    may_end.set()
    assert job.wait(20)
    assert worked == [1, 4]
    assert saw == [True, False]
    assert (job.running, job.state) == (False, "finished")


@pytest.mark.parametrize("error", [LabError("choose another"), RuntimeError("a bug")])
def test_an_error_is_reported_and_the_next_request_is_done(error):
    failures, worked = [], []

    def work(what: str) -> None:
        if what == "bad":
            raise error
        worked.append(what)

    job = Job(SynchronousExecutor(), work, failed=failures.append)
    job.request("bad")
    assert failures == [error]
    assert (job.state, job.error) == ("failed", error)
    job.request("good")
    assert worked == ["good"]
    assert (job.state, job.error) == ("finished", None)


def test_an_exit_is_reported_and_passed_on():
    failures = []
    job = Job(SynchronousExecutor(), lambda _: exit(3), failed=failures.append)
    job.request(None)
    assert [type(error) for error in failures] == [SystemExit]
    assert (job.running, job.state) == (False, "failed")
    job.request(None)
    assert len(failures) == 2


def test_stop_ends_the_work_where_it_asks_and_drops_what_waits():
    began, stopped = threading.Event(), threading.Event()
    worked = []

    def work(what: int) -> None:
        worked.append(what)
        began.set()
        assert stopped.wait(20)
        job.progress(1, 4)
        worked.append(-what)

    job = Job(ThreadExecutor("test"), work, failed=print)
    job.request(1)
    assert began.wait(20)
    job.request(2)
    job.stop()
    assert (job.state, job.overtaken) == ("stopping", True)
    stopped.set()
    assert job.wait(20)
    assert (worked, job.state, job.error) == ([1], "stopped", None)
    job.request(3)
    assert job.wait(20)
    assert worked == [1, 3, -3], "a stop is for what runs then, not for what comes later"


def test_stop_without_work_changes_nothing():
    job = Job(SynchronousExecutor(), print, failed=print)
    job.stop()
    assert job.state == "ready"


def test_progress_tells_how_long_it_will_take(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("labkit.panels.job.time.perf_counter", lambda: now[0])
    seen = []

    def work(_: object) -> None:
        assert math.isnan(job.seconds_left)
        now[0] += 6.0
        job.progress(3, 4)
        seen.append((job.share, job.seconds_left))

    job = Job(SynchronousExecutor(), work, failed=print)
    job.request(None)
    assert seen == [(0.75, pytest.approx(2.0))]


def test_changes_are_noticed_at_the_start_in_between_and_at_the_end():
    states = []

    def work(_: object) -> None:
        for step in range(1000):
            job.progress(step, 1000)

    job = Job(SynchronousExecutor(), work, failed=print, changed=lambda: states.append(job.state))
    job.request(None)
    assert (states[0], states[-1]) == ("running", "finished")
    assert len(states) < 100, "every step is noticed: the page would drown"
