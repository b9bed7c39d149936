"""A notebook to run: its file, and its parameters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.batch.assignments import assignments
from labkit.batch.parameters import NotebookParameter
from labkit.core.errors import FileError
from labkit.warm.deferred import defer_iris

if TYPE_CHECKING:  # its import takes a second
    import nbformat

TAG_IT = (
    "assign them in one code cell (lr = 0.1) and tag it. In JupyterLab: select the cell, open "
    "the property inspector (the gears at the right), add the tag `parameters` under Cell Tags. "
    'In the file, that cell then has "metadata": {"tags": ["parameters"]}'
)
PYTHON = ("python", "python3", "ipython", "ipython3")


@dataclass(frozen=True)
class Source:
    """A notebook's file.

    Attributes:
        path: where it lies.
        content: of the file.
        parameters: by name, in the order of the `parameters` cell.
        fast: values for a quick run, from the notebook's metadata
            `"labkit": {"fast": {"steps": 10}}`; None where it has none.
        uses_labkit: whether it imports labkit; its parameters may then be a recipe's.
    """

    path: Path
    content: bytes
    parameters: dict[str, NotebookParameter]
    fast: dict[str, Any] | None
    uses_labkit: bool

    @property
    def name(self) -> str:
        """The file's name without `.ipynb`."""
        return self.path.stem


def read_source(path: Path) -> Source:
    """Read a notebook.

    Raises:
        FileError: it is not there, not a notebook, one in another language, or its
            `parameters` cell is missing, there twice or not Python.
    """
    if not path.is_file():
        raise FileError(f"{path} is not there")
    content = path.read_bytes()
    notebook = _parsed(content, path)
    if json.loads(content)["nbformat"] < 4:
        import nbformat

        content = nbformat.writes(notebook).encode()
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return Source(
        path,
        content,
        _parameters(notebook, path),
        _fast(notebook, path),
        bool(re.search(r"^\s*(import|from)\s+labkit\b", code, re.MULTILINE)),
    )


def packages(paths: Iterable[str | os.PathLike[str]]) -> set[str]:
    """The packages that notebooks seem to import, by a quick look at their files.

    A file that cannot be read has none; a line that only looks like an import counts.
    """
    found: set[str] = set()
    for path in map(Path, paths):
        for file in path.glob("*.ipynb") if path.is_dir() else [path]:
            with suppress(OSError):
                text = file.read_text(errors="replace").replace("\\n", "\n")
                imported = ",".join(re.findall(r"\b(?:import|from)\s+([\w ,.]+)", text))
                found.update(re.findall(r"(?:^|,)\s*(\w+)", imported))
    return found


def read_parameters(path: Path) -> dict[str, NotebookParameter]:
    """The parameters of a notebook by name; errors are those of `read_source`."""
    return read_source(path).parameters


def _parsed(content: bytes, path: Path) -> nbformat.NotebookNode:
    """The notebook in a file, validated and of today's format."""
    defer_iris()
    import nbformat

    try:
        notebook = nbformat.reads(content.decode(), as_version=4)
        nbformat.validate(notebook)
        nbformat.writes(notebook).encode()  # half a character could never be saved again
    except (AttributeError, KeyError, TypeError, RecursionError):
        raise FileError(f"{path} is not a notebook: it is JSON of another shape") from None
    except (ValueError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(f"{path} is not a notebook: {reason}") from None
    language = _language(notebook)
    if language.lower() not in PYTHON:
        raise FileError(f"{path} is a notebook in {language}: labkit runs Python")
    return notebook


def _language(notebook: nbformat.NotebookNode) -> str:
    names = [
        notebook.metadata.get("kernelspec", {}).get("language"),
        notebook.metadata.get("language_info", {}).get("name"),
    ]
    return next((str(name) for name in names if name), "python")


def _parameters(notebook: nbformat.NotebookNode, path: Path) -> dict[str, NotebookParameter]:
    cells = [
        (number, cell.source)
        for number, cell in enumerate(notebook.cells, start=1)
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])
    ]
    if not cells:
        raise FileError(f"{path} has no cell tagged 'parameters': {TAG_IT}")
    if len(cells) > 1:
        numbers = ", ".join(str(number) for number, _ in cells)
        raise FileError(
            f"{path} has {len(cells)} cells tagged 'parameters' (the cells {numbers}): "
            "keep the tag on one of them"
        )
    try:
        return assignments(cells[0][1])
    except SyntaxError as error:
        where = f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
        raise FileError(f"{path}: its parameters cell is not Python: {where}") from None


def _fast(notebook: nbformat.NotebookNode, path: Path) -> dict[str, Any] | None:
    settings = notebook.metadata.get("labkit", {})
    if isinstance(settings, dict) and "fast" not in settings:
        return None
    fast = settings["fast"] if isinstance(settings, dict) else None
    if not isinstance(fast, dict):
        raise FileError(
            f'{path}: its metadata for a fast run must read "labkit": {{"fast": {{"steps": 10}}}}'
        )
    return {str(name): value for name, value in fast.items()}
