"""What performs a batch's jobs: this process's own threads, or a given executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from typing import Any

from labkit.core.executors import ThreadExecutor

Pool = Executor | Callable[[], Executor] | None


class Workers:
    """An executor, replaced once it is broken where there is a way to make another one.

    Args:
        pool: an executor; a function that makes one; None for threads of this process, each
            of which starts a process for its run.
        at_once: how many of those threads.
    """

    def __init__(self, pool: Pool, at_once: int) -> None:
        self.ours = pool is None
        self._at_once = at_once
        self._make = None if pool is None or isinstance(pool, Executor) else pool
        if pool is None:
            self._executor: Executor = ThreadExecutor("labkit-run")
        else:
            self._executor = pool if isinstance(pool, Executor) else pool()

    @property
    def here(self) -> bool:
        """Whether calls are made in this process."""
        return self.ours or isinstance(self._executor, ThreadPoolExecutor)

    @property
    def local(self) -> bool:
        """Whether the workers surely see this machine's folders."""
        return self.here or isinstance(self._executor, ProcessPoolExecutor)

    @property
    def slots(self) -> int:
        """How many calls are made at once, as far as the executor tells; Dask's may change."""
        for name in ("slots", "_max_workers"):
            if isinstance(found := getattr(self._executor, name, None), int):
                return found
        return self._at_once

    @property
    def room(self) -> int:
        """How many calls to have submitted at most.

        Twice as many as another executor has workers, so that none of them waits for us.
        """
        return self.slots if self.ours else 2 * self.slots

    @property
    def renewable(self) -> bool:
        """Whether a broken executor can be replaced."""
        return self._make is not None

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call a function, on another executor where this one is found to be broken.

        Raises:
            RuntimeError: the executor takes no more calls.
        """
        try:
            return self._executor.submit(fn, *args)
        except BrokenExecutor:
            if self._make is None:
                raise
        self._executor.shutdown(wait=False)
        self._executor = self._make()
        return self._executor.submit(fn, *args)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._make is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
