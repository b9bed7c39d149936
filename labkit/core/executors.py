"""Where work runs: on its own thread, or, in tests and headless, on the calling one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class ThreadExecutor(Executor):
    """Each job on a daemon thread of its own, so that none keeps a kernel alive."""

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn` on a new thread."""
        future: Future[Any] = Future()
        threading.Thread(
            target=_run, args=(future, fn, args, kwargs), name=self._name, daemon=True
        ).start()
        return future


class SynchronousExecutor(Executor):
    """Runs a job to its end before `submit` returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` now."""
        future: Future[Any] = Future()
        _run(future, fn, args, kwargs)
        return future


def _run(future: Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:  # it belongs to whoever waits for the result
        future.set_exception(error)
