"""Executors of any kind behind one face; a broken one is replaced where it can be."""

from __future__ import annotations

import os
import threading
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)

import pytest

from labkit.batch.workers import Workers


class Broken(Executor):
    """Takes no call."""

    closed = False

    def submit(self, fn, /, *args, **kwargs):
        raise BrokenExecutor("a worker died")

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.closed = True


class Growing(Executor):
    """Says how many calls it makes at once, as Dask's does."""

    slots = 3


@pytest.mark.parametrize(
    ("pool", "here", "local"),
    [(None, True, True), (ThreadPoolExecutor, True, True), (ProcessPoolExecutor, False, True)],
)
def test_where_calls_are_made(pool, here, local):
    with Workers(pool, 2) as workers:
        assert (workers.here, workers.local) == (here, local)
        assert workers.ours is (pool is None)
        if here:
            assert workers.submit(os.getpid).result(60) == os.getpid()
    assert not Workers(Growing(), 2).local, "nothing is known of its machine"


def test_how_many_calls_there_is_room_for():
    growing = Growing()
    workers = Workers(growing, 1)
    assert (workers.slots, workers.room) == (3, 6), "none of its workers waits for us"
    growing.slots = 5
    assert workers.room == 10
    assert Workers(None, 4).room == 4
    with ThreadPoolExecutor(2) as pool:
        assert Workers(pool, 9).room == 4


def test_a_broken_executor_is_replaced_by_what_makes_them():
    made = [Broken(), ThreadPoolExecutor(1)]
    left = list(made)
    with Workers(lambda: left.pop(0), 1) as workers:
        assert workers.renewable
        assert workers.submit(abs, -3).result(60) == 3
    assert made[0].closed
    with pytest.raises(RuntimeError, match="after shutdown"):
        made[1].submit(abs, 1)


def test_an_executor_that_was_given_is_neither_replaced_nor_closed():
    broken = Broken()
    with Workers(broken, 1) as workers:
        assert not workers.renewable
        with pytest.raises(BrokenExecutor):
            workers.submit(abs, -3)
    assert not broken.closed


def test_own_threads_run_at_once():
    meet = threading.Barrier(3)
    with Workers(None, 3) as workers:
        calls: list[Future] = [workers.submit(meet.wait, 60) for _ in range(3)]
        assert sorted(call.result(60) for call in calls) == [0, 1, 2]
