from __future__ import annotations

import numpy as np
import pytest

from labkit.deploy.latency import interleaved, latency
from labkit.deploy.runtimes.process import WorkerError


class Timed:
    """A worker that answers with its own milliseconds; it fails in one of its turns."""

    def __init__(self, name, ms, order, fails=99):
        self.name, self.ms, self.order, self.fails = name, ms, order, fails

    def ask(self, command, *, timeout, count, warm):
        assert command == "time"
        self.order.append(self.name)
        if self.order.count(self.name) > self.fails:
            raise WorkerError("it fell over")
        return [self.ms] * count


def test_median_and_95th_percentile():
    found = latency([float(k) for k in range(100, 0, -1)])
    assert (found.median, found.p95, found.images) == (50.5, 96.0, 100)


@pytest.mark.parametrize("count", [1, 2, 7, 20, 48, 100])
def test_they_are_numpys(count):
    times = list(np.random.default_rng(count).exponential(5, count))
    found = latency(times)
    assert found.median == pytest.approx(np.median(times))
    assert found.p95 == np.quantile(times, 0.95, method="higher")


def test_workers_take_turns():
    order = []
    workers = {name: Timed(name, ms, order) for name, ms in (("a", 1.0), ("b", 2.0))}
    found = interleaved(workers, lambda *_: None, rounds=3, burst=4)
    assert order == ["a", "b"] * 3
    assert {name: (one.median, one.images) for name, one in found.items()} == {
        "a": (1.0, 12), "b": (2.0, 12),
    }  # fmt: skip


def test_one_that_fails_drops_out_with_its_reason():
    order, failed = [], []
    workers = {"a": Timed("a", 1.0, order), "b": Timed("b", 2.0, order, fails=1)}
    found = interleaved(workers, lambda *why: failed.append(why), rounds=3, burst=1)
    assert order == ["a", "b", "a", "b", "a"]
    assert failed == [("b", "it fell over")]
    assert list(found) == ["a"]
