"""A batch's report: from opening the file to the last chart, and how large it is.

Method: made-up batches (optimizer x learning rate x seed, two curves of 200 points a run);
the page is opened from disk in a headless Chromium without a network. The clock starts
with the navigation and stops when table, coordinates, heat map and curves are drawn.
Medians, of a browser that has just been started each time.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.browser import chromium
from benchmarks.measure import Row
from labkit.batch.report import report
from tests.batch.synthetic import batch

MARK = "performance.getEntriesByName('labkit-{}')[0]?.startTime"
ROUNDS = 5


def seconds(path: Path) -> tuple[float, float]:
    """Until the table is there, and until everything is drawn."""
    with chromium() as page:
        page.goto(path.as_uri())
        while not (drawn := page.evaluate(MARK.format("page"))):
            page.wait_for_timeout(20)
        return page.evaluate(MARK.format("table")) / 1000, drawn / 1000


def rows() -> list[Row]:
    """Reports of a thousand and of ten thousand runs."""
    found = []
    for runs, most in ((1_000, 3.0), (10_000, 10.0)):
        with tempfile.TemporaryDirectory() as folder:
            place = batch(Path(folder) / "runs", runs)
            began = time.perf_counter()
            path = Path(report(place))
            made = time.perf_counter() - began
            size = os.path.getsize(path) / 1e6
            table, drawn = map(
                statistics.median, zip(*(seconds(path) for _ in range(ROUNDS)), strict=True)
            )
        found.append(
            Row(
                f"report of {runs:,} runs, drawn ({size:.1f} MB, made in {made:.1f} s)",
                f"{drawn:.2f} s",
                f"table {table:.2f} s",
                None,
                f"opens in {most:g} s",
                drawn <= most,
            )
        )
    return found
