"""Notebooks as they lie on disk: what they are asked for, and what is no notebook."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.batch.job import identify
from labkit.batch.source import packages, read_parameters, read_source
from labkit.core.errors import FileError
from tests.batch.notebooks import make


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook with these `parameters` cells and give its path."""

    def write(*sources: str, **metadata):
        path = tmp_path / "notebook.ipynb"
        cells = [new_code_cell(source, metadata={"tags": ["parameters"]}) for source in sources]
        cells = [new_markdown_cell("# Title"), *cells]
        nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
        return path

    return write


def defaults(path) -> dict[str, object]:
    return {name: parameter.default for name, parameter in read_parameters(path).items()}


def test_the_parameters_cell_is_read(notebook):
    assert defaults(notebook("lr: float = 1\nname = 'a = b'")) == {"lr": 1, "name": "a = b"}


@pytest.mark.parametrize("code", ["x = ", "class = 1", "x = " + "(" * 500, "x = '"])
def test_a_cell_that_is_not_python_is_refused_in_one_line(code, notebook):
    path = notebook(f"first = 1\n{code}")
    with pytest.raises(FileError, match=f"{path}: its parameters cell is not Python: ") as refused:
        read_parameters(path)
    assert len(str(refused.value).splitlines()) == 1


def test_without_a_parameters_cell_it_is_said_how_to_make_one(notebook):
    path = notebook()
    with pytest.raises(FileError) as refused:
        read_parameters(path)
    message = str(refused.value)
    assert message.startswith(f"{path} has no cell tagged 'parameters'")
    assert "property inspector" in message
    assert '"metadata": {"tags": ["parameters"]}' in message
    assert len(message.splitlines()) == 1


def test_the_cell_that_the_message_describes_is_one(tmp_path, notebook):
    """The JSON of the message, put into a notebook, is what was asked for."""
    with pytest.raises(FileError) as refused:
        read_parameters(notebook())
    metadata = json.loads("{" + str(refused.value).partition("then has ")[2] + "}")
    path = tmp_path / "mended.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("lr = 0.1", **metadata)]), path)
    assert defaults(path) == {"lr": 0.1}


def test_two_parameters_cells_are_told_by_their_place(notebook):
    path = notebook("x = 1", "y = 2")
    with pytest.raises(FileError, match=r"2 cells tagged 'parameters' \(the cells 2, 3\)"):
        read_parameters(path)


def test_a_tag_on_text_is_not_a_cell_of_parameters(tmp_path):
    path = tmp_path / "a.ipynb"
    cell = new_markdown_cell("x = 1", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell]), path)
    with pytest.raises(FileError, match="has no cell tagged"):
        read_parameters(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},
        {"language_info": {"name": "julia"}},
    ],
)
def test_a_notebook_in_another_language_is_refused(metadata, tmp_path):
    path = tmp_path / "a.ipynb"
    cell = new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell], metadata=metadata), path)
    with pytest.raises(FileError, match=r"is a notebook in (R|julia): labkit runs Python"):
        read_parameters(path)


NO_NOTEBOOKS = {
    "empty": b"",
    "text": b"hello",
    "binary": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "an object": b"{}",
    "no cells": b'{"nbformat": 4}',
    "cells that are none": b'{"nbformat": 4, "nbformat_minor": 5, "cells": 3, "metadata": {}}',
    "a cell without source": (
        b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}'
    ),
    "from the future": b'{"nbformat": 99, "nbformat_minor": 0, "cells": [], "metadata": {}}',
    "cut short": json.dumps(new_notebook(cells=[new_code_cell("x = 1")])).encode()[:-20],
    "very deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_what_is_no_notebook_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "notebook.ipynb"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"is not a notebook: .+") as refused:
        read_parameters(path)
    assert str(refused.value).startswith(str(path))
    assert len(str(refused.value).splitlines()) == 1
    assert "object has no attribute" not in str(refused.value)


@pytest.mark.parametrize("name", ["missing.ipynb", "."])
def test_a_missing_notebook_is_named(name, tmp_path):
    with pytest.raises(FileError, match="is not there"):
        read_parameters(tmp_path / name)


def test_half_a_character_could_not_be_saved_again(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_bytes(make("x = 'HERE'").replace(b"HERE", b"\\ud800"))
    with pytest.raises(FileError, match="is not a notebook"):
        read_source(path)


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("import labkit", True),
        ("x = 1\n  from labkit.recipe.recipe import Recipe", True),
        ("# import labkit", False),
        ("import labkittens", False),
    ],
)
def test_a_notebook_that_imports_labkit_is_told_from_others(code, uses, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_bytes(make(code))
    assert read_source(path).uses_labkit is uses


def test_the_content_is_the_files_own(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_bytes(make("1 + 1") + b"\n\n")
    assert read_source(path).content == path.read_bytes()


def test_a_notebook_of_an_older_format_is_brought_to_todays(tmp_path):
    path = tmp_path / "old.ipynb"
    old = nbformat.v3.new_notebook(
        worksheets=[
            nbformat.v3.new_worksheet(
                cells=[nbformat.v3.new_code_cell("x = 3", metadata={"tags": ["parameters"]})]
            )
        ]
    )
    path.write_text(json.dumps(old))
    source = read_source(path)
    assert source.parameters["x"].default == 3
    assert json.loads(source.content)["nbformat"] == 4
    assert identify("old", source.content, {})


@pytest.mark.parametrize(
    ("metadata", "fast"),
    [
        ({}, None),
        ({"labkit": {}}, None),
        ({"labkit": {"fast": {}}}, {}),
        ({"labkit": {"fast": {"x": 2}}}, {"x": 2}),
    ],
)
def test_values_for_a_fast_run_stand_in_the_metadata(metadata, fast, notebook):
    assert read_source(notebook("x = 1", **metadata)).fast == fast


@pytest.mark.parametrize("metadata", [{"labkit": 3}, {"labkit": {"fast": [1]}}])
def test_other_metadata_is_refused_with_an_example(metadata, notebook):
    with pytest.raises(FileError, match='must read "labkit"'):
        read_source(notebook("x = 1", **metadata))


def test_what_notebooks_seem_to_import(tmp_path):
    sources = (
        "import torch.nn as nn, numpy\nfrom sklearn.svm import SVC",
        "    import pandas as pd",
    )
    (tmp_path / "some").mkdir()
    path = make(*sources)
    (tmp_path / "some" / "a.ipynb").write_bytes(path)
    (tmp_path / "b.ipynb").write_text("no notebook: import plotly")
    found = packages([tmp_path / "some", tmp_path / "b.ipynb", tmp_path / "missing.ipynb"])
    assert {"torch", "numpy", "sklearn", "pandas", "plotly"} <= found
    assert found.isdisjoint({"nn", "svm", "SVC", "pd"})
