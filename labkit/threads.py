"""How many threads torch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread for what this thread computes meanwhile.

    A recipe's networks are so small that a second thread only waits for the first, and on
    a busy machine the two wait for each other: steps were seen to take thirty times as
    long. One thread also leaves a core to the browser, and makes results independent of
    how many cores there are. Torch keeps the setting per thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
