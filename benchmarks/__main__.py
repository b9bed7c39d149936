"""`python -m benchmarks [NAME …]`: run the benchmarks and print one table of ratios."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from benchmarks.measure import Row
from labkit.core.table import Table

NAMES = (
    "recording",
    "imports",
    "live",
    "start",
    "sweep",
    "landscape",
    "batch",
    "batch_scale",
    "batch_kernels",
    "batch_report",
    "scenes",
    "break_it",
    "finetune",
    "quantize",
)


def main(names: list[str]) -> int:
    """Run some or all benchmarks; a missed target shows, but is no failure."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
        return 2
    rows: list[Row] = []
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name}: {(module.__doc__ or '').strip().splitlines()[0]}", flush=True)
        rows += module.rows()
    table = [row.cells() for row in rows]
    print(f"\n{Table(table)!r}\n\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps(table, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
