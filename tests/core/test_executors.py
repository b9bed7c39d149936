from __future__ import annotations

import threading
from concurrent.futures import Executor

import pytest

from labkit.core.executors import SynchronousExecutor, ThreadExecutor

EXECUTORS = [ThreadExecutor("worker"), SynchronousExecutor()]


@pytest.mark.parametrize("executor", EXECUTORS, ids=["thread", "synchronous"])
def test_the_result_arrives(executor):
    assert isinstance(executor, Executor)
    assert executor.submit(divmod, 7, 2).result(10) == (3, 1)
    assert executor.submit(dict, a=1).result(10) == {"a": 1}
    assert list(executor.map(abs, [-1, 2])) == [1, 2]


@pytest.mark.parametrize("executor", EXECUTORS, ids=["thread", "synchronous"])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_belongs_to_whoever_waits(executor, kind):
    def fail():
        raise kind("broken")

    future = executor.submit(fail)
    with pytest.raises(kind, match="broken"):
        future.result(10)


def test_synchronous_work_is_done_before_submit_returns():
    where = []
    future = SynchronousExecutor().submit(lambda: where.append(threading.current_thread()))
    assert future.done()
    assert where == [threading.current_thread()]


def test_threaded_work_runs_beside_the_caller_on_a_named_daemon():
    gate, where = threading.Event(), []

    def work():
        gate.wait(10)
        where.append(threading.current_thread())

    future = ThreadExecutor("labkit-train").submit(work)
    assert not future.done(), "submit must not wait"
    gate.set()
    future.result(10)
    assert where[0] is not threading.current_thread()
    assert where[0].daemon, "a kernel must be able to end"
    assert where[0].name == "labkit-train"


def test_threaded_jobs_do_not_wait_for_each_other():
    executor, meeting = ThreadExecutor("worker"), threading.Barrier(2, timeout=10)
    futures = [executor.submit(meeting.wait) for _ in range(2)]
    assert sorted(future.result(10) for future in futures) == [0, 1]
