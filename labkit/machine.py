"""What this machine can do: versions, processor, memory, GPU, and what is missing."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from labkit._version import __version__
from labkit.core.formatting import memory_size
from labkit.core.table import Table

PACKAGES = (
    "torch",
    "ultralytics",
    "jupyterlab",
    "ipykernel",
    "ipywidgets",
    "anywidget",
    "plotly",
    "papermill",
)


def doctor() -> Table:
    """One row a check: what was looked at, what was found, and a remedy where one is needed."""
    rows = [_row("labkit", __version__), _row("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            rows.append(_row(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append(_row(name, "missing", f"pip install {name}"))
    rows += [_processor(), _memory(), _gpu(), _kernel()]
    return Table(rows)


def _row(check: str, found: str, remedy: str = "") -> dict[str, str]:
    return {"check": check, "found": found, "": "✗" if remedy else "✓", "remedy": remedy}


def _processor() -> dict[str, str]:
    import torch

    return _row(
        "processor",
        f"{os.cpu_count()} cores, {torch.get_num_threads()} used by torch, "
        f"{torch.backends.cpu.get_cpu_capability()}",
    )


def _memory() -> dict[str, str]:
    import psutil

    memory = psutil.virtual_memory()
    little = memory.available < 2 * 2**30
    remedy = "close other programs: some notebooks need 2 GiB" if little else ""
    free, total = memory_size(memory.available), memory_size(memory.total)
    return _row("memory", f"{free} of {total} free", remedy)


def _gpu() -> dict[str, str]:
    import torch

    if torch.cuda.is_available():
        return _row("GPU", f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
    return _row("GPU", "none: everything runs on the processor")


def _kernel() -> dict[str, str]:
    """Whether widgets can answer while a cell runs (ipykernel 7 and JupyterLab 4.4)."""
    if "ipykernel" not in sys.modules:
        return _row("notebook", "not in a notebook")
    new = int(metadata.version("ipykernel").partition(".")[0]) >= 7
    remedy = "" if new else "pip install 'ipykernel>=7'"
    return _row("notebook", f"kernel of {sys.executable}", remedy)
