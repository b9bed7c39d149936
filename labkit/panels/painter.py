"""One painter repaints a panel's figures at a fixed rate while something runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labkit.core.threads import one_thread
from labkit.panels.live_figure import LiveFigure, show_together

RATE = 22.0  # frames per second at the most: every frame takes time from training
STATUS_EVERY = 0.25  # seconds between updates of the words

Draw = Callable[[], Mapping[LiveFigure, Any]]


class Painter:
    """Takes what is there and paints it; training never waits for it.

    Frames may be dropped: the painter waits until the page has room for another, and
    always paints once more when the run is over.

    Args:
        draw: gives the newest spec of each figure.
        tell: updates the words of the panel (a few times a second).
        running: whether there is more to come.
        failed: called with what ended the painting on its thread, if anything did.
    """

    def __init__(
        self,
        draw: Draw,
        tell: Callable[[], None],
        running: Callable[[], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        self._draw = draw
        self._tell = tell
        self._running = running
        self._failed = failed
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._painting = threading.Lock()

    def paint(self) -> None:
        """Paint once, now."""
        with self._painting:  # of two threads that paint, the second shows the newer state
            show_together(self._draw())
        self._tell()

    @property
    def working(self) -> bool:
        """Whether it is painting on its thread."""
        return self._thread is not None

    def start(self) -> None:
        """Paint until nothing runs any more, on a thread of its own."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="labkit-paint", daemon=True)
                self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the last frame."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _work(self) -> None:
        try:
            while True:
                self._loop()
                with self._lock:  # what runs again by now has called `start` in vain
                    if not self._running():
                        self._thread = None
                        return
        except BaseException as error:
            with self._lock:
                self._thread = None
            if not isinstance(error, Exception):
                raise
            self._failed(error)

    def _loop(self) -> None:
        worded = 0.0
        # A view that asks the network must not take training's core, nor Python's lock longer
        # than it needs: training asks for it thousands of times a second.
        with one_thread(), _switching_every(0.001):
            while self._running():
                began = time.perf_counter()
                specs = self._draw()
                show_together(specs)
                if began - worded > STATUS_EVERY:
                    self._tell()
                    worded = began
                next(iter(specs)).wait(0.5)  # they travel together: one answers for all
                time.sleep(max(0.0, 1 / RATE - (time.perf_counter() - began)))
            self.paint()


@contextlib.contextmanager
def _switching_every(seconds: float) -> Iterator[None]:
    """Let another thread have Python's lock after at most that long (5 ms by default)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
