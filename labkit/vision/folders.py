"""Where labkit keeps what it draws, and where runs go: two folders, and no third."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "LABKIT_CACHE"
RUNS = "LABKIT_RUNS"


def cache_folder() -> Path:
    """Where drawn data sets are kept: $LABKIT_CACHE, or ~/.cache/labkit.

    What is in it can be made again: it may be deleted whenever no run uses it.
    """
    return _chosen(CACHE, Path.home() / ".cache" / "labkit")


def runs_folder() -> Path:
    """Where fine-tuning runs leave their results: $LABKIT_RUNS, or ~/labkit/runs."""
    return _chosen(RUNS, Path.home() / "labkit" / "runs")


def _chosen(variable: str, default: Path) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().absolute() if chosen else default
