"""Notebooks are committed clean: no outputs, one parameters cell, a kernel everyone has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_there_are_notebooks_and_a_first_one():
    assert "00_start_here" in [path.stem for path in NOTEBOOKS]


@each_notebook
def test_format_is_4_5_with_ids(path: Path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@each_notebook
def test_nothing_of_a_run_is_left(path: Path):
    notebook = read(path)
    assert "widgets" not in notebook["metadata"]
    assert "papermill" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@each_notebook
def test_one_cell_holds_the_parameters(path: Path):
    tags = [cell["metadata"].get("tags", []) for cell in read(path)["cells"]]
    assert sum("parameters" in tag for tag in tags) == 1


@each_notebook
def test_a_question_does_not_show_its_answer(path: Path):
    """It stands in the question's code: the cell's input is folded away, and nothing else is."""
    for cell in read(path)["cells"]:
        asks = cell["cell_type"] == "code" and "labkit.Question(" in "".join(cell["source"])
        hidden = cell["metadata"].get("jupyter", {}).get("source_hidden", False)
        assert asks == hidden, cell["id"]


@each_notebook
def test_kernel_is_python3(path: Path):
    assert read(path)["metadata"]["kernelspec"]["name"] == "python3"


@each_notebook
def test_nbstripout_would_change_nothing(path: Path):
    command = [sys.executable, "-m", "nbstripout", "--verify", "--keep-id", str(path)]
    assert subprocess.run(command, check=False).returncode == 0, "run `make format`"
