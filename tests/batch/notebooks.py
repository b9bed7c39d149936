"""Small notebooks, made where they are needed, and jobs of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.batch.job import Job, Limits, identify

# What labkit.report does, without waiting for its import in every kernel.
REPORT = """
import json, os, pathlib

def report(**values):
    pathlib.Path(os.environ["LABKIT_RESULTS"]).write_text(json.dumps(values))
"""


def make(
    *sources: str | dict[str, Any], parameters: str = "x = 1", kernel: str | None = "python3"
) -> bytes:
    """A notebook's file: a title, its parameters, and code cells.

    A source is text or the arguments of `new_code_cell`, so as to give a cell tags.
    """
    cells = [
        new_markdown_cell("# A title"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
    ]
    for source in sources:
        given = {"source": source} if isinstance(source, str) else source
        cells.append(new_code_cell(**given))
    metadata = {}
    if kernel is not None:
        metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    return nbformat.writes(new_notebook(cells=cells, metadata=metadata)).encode()


def job(
    notebook: bytes,
    folder: Path | None = None,
    *,
    name: str = "small",
    kernel: str = os.environ.get("LABKIT_TEST_KERNEL", "warm"),
    limits: Limits | None = None,
    report_mode: bool = False,
    **parameters: Any,
) -> Job:
    """A job of a notebook, without a plan."""
    return Job(
        id=identify(name, notebook, parameters),
        name=name,
        notebook=notebook,
        parameters=parameters,
        kernel=kernel,
        report_mode=report_mode,
        limits=limits or Limits(),
        folder=None if folder is None else str(folder),
    )


def read(folder: Path, name: str = "small") -> nbformat.NotebookNode:
    """An executed notebook, checked for its format."""
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """What each code cell printed or raised."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts = [
                o.get("text") or o.get("evalue") or o.get("data", {}).get("text/plain", "")
                for o in cell.outputs
            ]
            texts.append("".join(parts))
    return texts


def statuses(notebook: nbformat.NotebookNode) -> list[str]:
    """What is said of each code cell."""
    return [c.metadata.papermill.status for c in notebook.cells if c.cell_type == "code"]
