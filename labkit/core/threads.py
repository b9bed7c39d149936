"""How many threads torch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread for what this thread computes inside the `with`.

    A recipe's networks are so small that a second thread only waits for the first, and on
    a busy machine the two wait for each other: steps were seen to take thirty times as
    long. One thread also leaves a core to the browser, and makes results independent of
    how many cores there are. Torch keeps the setting per thread.
    """
    with threads(1):
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for what this thread computes inside the `with`."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def idle_cores(most: int | None = None) -> int:
    """How many threads would have a core of their own now: at least 1.

    Threads that share a core wait for each other more than they compute: beside another
    program that kept one core of two busy, a fine-tuning run was seen to take four times as
    long with two threads as with one.

    Args:
        most: the upper limit; by default what torch uses now.
    """
    import psutil

    idle = (psutil.cpu_count() or 1) * (1 - psutil.cpu_percent(interval=0.3) / 100)
    return max(1, min(most or torch.get_num_threads(), round(idle)))
