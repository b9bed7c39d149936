"""Two edits at the same moment, by two threads, as a kernel with subshells hands them on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any


def edit_together(
    monkeypatch: Any, owner: Any, name: str, *edits: Callable[[], object], patience: float = 0.5
) -> None:
    """Make two edits at once.

    Args:
        owner, name: the function that makes the new value from the old one. Each edit waits
            behind it for the other: where both come there, both have started from the same
            value, and the one that is taken over first is lost.
        edits: each for a thread of its own.
        patience: how long one waits for the other, in seconds.
    """
    make, both = getattr(owner, name), threading.Barrier(len(edits))

    def make_and_wait(*arguments: Any, **more: Any) -> Any:
        value = make(*arguments, **more)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(patience)
        return value

    monkeypatch.setattr(owner, name, make_and_wait)
    threads = [threading.Thread(target=edit) for edit in edits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    monkeypatch.setattr(owner, name, make)
