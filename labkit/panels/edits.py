"""One lock around edits and programmatic changes: an edit is taken whole, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Handler = Callable[..., object]


class Edits:
    """Distinguishes what somebody changes from what the program sets, and takes edits in turn.

    A kernel with subshells hands the page's messages on by two threads, a widget's by the one
    that it last sent from. Two edits at the same moment would both start from the old value,
    and one of them would be lost.

    Attributes:
        lock: held while an edit is taken over. A worker takes it to adopt its results, so that
            no edit comes between.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._thread = threading.local()

    @contextmanager
    def filling(self) -> Iterator[None]:
        """What changes meanwhile on this thread is nobody's edit.

        It takes no lock: a painter may set what it shows while an edit waits for the painter.
        """
        before = self.filled
        self._thread.filling = True
        try:
            yield
        finally:
            self._thread.filling = before

    @property
    def filled(self) -> bool:
        """Whether this thread is filling controls now."""
        return getattr(self._thread, "filling", False)

    def guard(
        self, handler: Handler, *, alert: Callable[[Exception | None], None], restore: Handler
    ) -> Callable[..., None]:
        """A callback for widgets: `handler`, one edit at a time, its errors shown.

        Args:
            handler: takes the edit over, or raises.
            alert: shows what it raised; called with None before each edit.
            restore: makes the controls show again what is in force, after an error.
        """

        def guarded(*arguments: Any) -> None:
            if self.filled:
                return
            with self.lock:
                alert(None)
                try:
                    handler(*arguments)
                except Exception as error:
                    alert(error)
                    restore()

        return guarded
