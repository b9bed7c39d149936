"""From the second `make lab` to a notebook that answers.

Method: the environment is there already. `make lab` is started, a browser opens the URL
that it prints, runs all cells of the first notebook, and the clock stops when the first
code cell has its number. The peer is a plain `jupyter lab` of the same environment on the
same notebook. Interleaved, medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from benchmarks.browser import chromium, free_port, run_all, server
from benchmarks.measure import Row, interleaved

ROOT = Path(__file__).parents[1]
FIRST = "00_start_here.ipynb"


def seconds(command: list[str]) -> float:
    """Wall seconds from the command to the first cell's answer."""
    with chromium() as page:  # the browser is open already, as a user's is
        began = time.perf_counter()
        with server(command, ROOT) as url:
            run_all(page, url, FIRST)
            return time.perf_counter() - began


def rows() -> list[Row]:
    """`make lab` beside a plain JupyterLab."""

    def ours() -> float:
        return seconds(["make", "lab", f"LAB_ARGS=--no-browser --port {free_port()}"])

    def peer() -> float:
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--port", str(free_port()), f"--ServerApp.root_dir={ROOT / 'notebooks'}"]
        return seconds(command)

    figures = interleaved({"labkit": ours, "jupyter": peer}, rounds=3)
    mine, plain = (statistics.median(figures[name]) for name in ("labkit", "jupyter"))
    return [
        Row(
            "second `make lab` to an answer / plain `jupyter lab`",
            f"{mine:.1f} s",
            f"{plain:.1f} s",
            mine / plain,
            "at most 12 s",
            mine <= 12,
        )
    ]
