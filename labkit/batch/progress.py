"""Progress of a batch on the screen: one live line, or a plain one now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from labkit.core.formatting import duration

LIVE = 0.2  # seconds between two drawings of the live line
PLAIN = 10.0  # seconds between two lines where nothing can be redrawn
FAILURES = 10  # that are shown one by one


class Progress:
    """Counts of runs: done, failed, running, and the time that remains.

    Args:
        total: runs in all.
        show: nothing is ever written where it is False.
    """

    def __init__(self, total: int, show: bool = True) -> None:
        self.total = total
        self.done = self.failed = self.running = self.elsewhere = 0
        self.parallel = 1
        self._show = show
        self._seconds: list[float] = [0.0, 0.0]  # of runs that ended here, and how many
        self._failures_shown = 0
        self._line = ""
        self._bar: Any = _bar(total) if show else None
        self._next = time.monotonic() + (LIVE if self._bar is not None else PLAIN)

    def known(self, done: int, failed: int) -> None:
        """Runs that had ended before."""
        self.done += done
        self.failed += failed

    def ended(self, state: str, seconds: float | None = None, message: str | None = None) -> None:
        """One more run has ended; `message` is shown where it failed."""
        if state == "done":
            self.done += 1
        else:
            self.failed += 1
            self._show_failure(message)
        if seconds is not None:
            self._seconds[0] += seconds
            self._seconds[1] += 1

    def now(self, running: int, parallel: int, elsewhere: int = 0) -> None:
        """How many run at this moment, how many may, and how many other drivers have."""
        self.running, self.parallel, self.elsewhere = running, max(1, parallel), elsewhere
        self._draw()

    def note(self, text: str) -> None:
        """A line of its own."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._show:
            print(text, file=sys.stderr, flush=True)

    def remaining(self) -> float | None:
        """Seconds until the end, from the runs so far; None before the first has ended."""
        total, count = self._seconds
        left = self.total - self.done - self.failed
        return total / count * left / min(self.parallel, max(left, 1)) if count else None

    def text(self) -> str:
        """The counts as a line."""
        parts = [f"{self.done} done", f"{self.failed} failed", f"{self.running} running"]
        if self.elsewhere:
            parts.append(f"{self.elsewhere} with another driver")
        if (seconds := self.remaining()) is not None and self.done + self.failed < self.total:
            parts.append(f"{duration(seconds)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """The last line."""
        self.running = 0
        self._seconds = [0.0, 0.0]  # nothing remains, or it was stopped
        if self._bar is not None:
            self._redraw()
            self._bar.close()
        elif self._show:
            self._print()

    def _show_failure(self, message: str | None) -> None:
        self._failures_shown += 1
        if message and self._failures_shown <= FAILURES:
            self.note(message)
        elif self._failures_shown == FAILURES + 1:
            self.note("further failures are not shown here; their status files have them")

    def _draw(self) -> None:
        """Now and then: runs may end faster than anybody reads."""
        if not self._show or time.monotonic() < self._next:
            return
        if self._bar is None:
            self._print()
        else:
            self._redraw()

    def _redraw(self) -> None:
        self._next = time.monotonic() + LIVE
        self._bar.n = self.done + self.failed
        self._bar.set_postfix_str(self.text())

    def _print(self) -> None:
        self._next = time.monotonic() + PLAIN
        line = f"{self.done + self.failed}/{self.total} runs: {self.text()}"
        if line != self._line:
            print(line, file=sys.stderr, flush=True)
        self._line = line


def _bar(total: int) -> Any:
    """A bar that redraws itself: in a terminal or in a notebook; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if not (sys.stderr.isatty() or hasattr(shell, "kernel")):
        return None
    from tqdm.auto import tqdm

    return tqdm(
        total=total,
        unit="run",
        dynamic_ncols=True,
        bar_format="{n_fmt}/{total_fmt} runs |{bar:24}| {elapsed}{postfix}",
    )
