"""Latency of many files side by side: in turn, in short bursts, so that noise affects all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labkit.deploy.runtimes.process import Worker, WorkerError

ROUNDS = 8
BURST = 6  # images of one file in a row
WARM = 2  # images before them that are not timed: others have used the caches meanwhile
TIMEOUT = 30.0  # seconds for one burst


@dataclass(frozen=True)
class Latency:
    """How long one image takes.

    Attributes:
        median, p95: milliseconds, over all images of all rounds.
        images: how many were timed.
    """

    median: float
    p95: float
    images: int


def interleaved(
    workers: Mapping[str, Worker],
    failed: Callable[[str, str], None],
    *,
    rounds: int = ROUNDS,
    burst: int = BURST,
) -> dict[str, Latency]:
    """Time the open sessions of several workers, in turn; one that fails drops out.

    Args:
        workers: by name; each has a file open.
        failed: is called with the name and the reason of each that drops out.
        rounds: how many turns each has.
        burst: images in each turn.
    """
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name in list(times):
            try:
                times[name] += workers[name].ask("time", timeout=TIMEOUT, count=burst, warm=WARM)
            except WorkerError as error:
                del times[name]
                failed(name, str(error))
    return {name: latency(found) for name, found in times.items() if found}


def latency(times: list[float]) -> Latency:
    """Median and 95th percentile of milliseconds."""
    ordered = sorted(times)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return Latency(statistics.median(ordered), p95, len(ordered))
