"""What `import labkit` adds to `import torch`.

Method: fresh interpreters in turn, wall time of the import statement alone, medians of
interleaved rounds. `import labkit` loads names when they are used, so that the names a
first run needs are measured too.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import Row, interleaved


def seconds(statement: str) -> float:
    """Wall seconds of a statement in a fresh interpreter."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def rows() -> list[Row]:
    """`import labkit`, and with the names of a first run."""
    base = "import torch"
    figures = interleaved(
        {
            "torch": lambda: seconds(base),
            "labkit": lambda: seconds(f"{base}; import labkit"),
            "names": lambda: seconds(f"{base}; from labkit import Recipe, fit, Session"),
        },
        rounds=7,
    )
    peer = statistics.median(figures["torch"])
    found = []
    for name, what in (("labkit", "import labkit"), ("names", "import Recipe, fit, Session")):
        ours = statistics.median(figures[name])
        added = statistics.median(
            a - b for a, b in zip(figures[name], figures["torch"], strict=True)
        )
        found.append(
            Row(
                f"import torch; {what} / import torch",
                f"{added:+.2f} s",
                f"{peer:.2f} s",
                ours / peer,
                "adds at most 0.3 s",
                added <= 0.3,
            )
        )
    return found
