"""What the documentation says is true today, and the site builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import nbformat
import pytest

from labkit.batch.page import to_html
from labkit.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "scaling.md")
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


COMMANDS = [
    pytest.param(line, id=f"{path.stem}: {line[:60]}")
    for path in (README, *PAGES)
    for block in blocks(path, "")
    for line in block.splitlines()
    if line.startswith("labkit ") and "…" not in line
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line, tmp_path, monkeypatch):
    name, *arguments = shlex.split(line.partition(" #")[0])[1:]
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    monkeypatch.chdir(tmp_path)
    for word in arguments:  # files that a page says are there
        if re.fullmatch(r"[\w/]+\.(ipynb|safetensors|yaml)", word):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    for folder in ("runs/opt", "notebooks"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    command.make_context(name, arguments)  # raises where an option or argument is wrong


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_python_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    # What needs a package of somebody's cluster is left out.
    codes = [code for code in blocks(path, "python") if "from dask_" not in code]
    try:
        for code in codes:
            exec(compile(code, path.name, "exec"), namespace)
    finally:
        from labkit import NETWORKS

        if "two_heads_wide" in NETWORKS:
            NETWORKS.unregister("two_heads_wide")


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_pictures_are_there_and_described(path):
    for text, target in re.findall(r"!\[(.*?)\]\((.+?)\)", path.read_text(encoding="utf-8")):
        assert len(text) > 20, f"{target} needs a description for those who cannot see it"
        assert (path.parent / target).stat().st_size < 300 * 1024, target


def test_every_picture_is_shown_somewhere():
    shown = {
        (path.parent / target).resolve()
        for path in (README, *PAGES)
        for target in re.findall(r"!\[.*?\]\((.+?)\)", path.read_text(encoding="utf-8"))
    }
    assert {path.resolve() for path in (ROOT / "docs" / "images").iterdir()} <= shown


def test_a_grid_file_as_shown_is_read(tmp_path):
    from labkit.batch.grid import read_grid

    (block,) = blocks(ROOT / "docs" / "batch.md", "yaml")
    (tmp_path / "grid.yaml").write_text(block)
    found = read_grid(tmp_path / "grid.yaml")
    assert found.seeds == 3
    assert set(found.names) == {"optimizer", "lr", "seed"}


# --- the site


def build(site: Path, pages: Path) -> subprocess.CompletedProcess[str]:
    """`make docs` after its notebooks are executed."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "LABKIT_PAGES": str(pages), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, with pages of notebooks that have not been executed: that takes minutes."""
    folder = tmp_path_factory.mktemp("docs")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        page = folder / "pages" / f"{path.stem}-1" / f"{path.stem}.html"
        page.parent.mkdir(parents=True)
        notebook = nbformat.read(path, as_version=4)
        page.write_text(to_html(notebook, path.stem), encoding="utf-8")
    done = build(folder / "site", folder / "pages")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_each_notebook_is_a_page_with_its_executed_page(site):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        page = (site / "notebooks" / path.stem / "index.html").read_text(encoding="utf-8")
        (frame,) = re.findall(r'<iframe [^>]*src="(.+?)"', page)
        assert (site / "notebooks" / path.stem / frame).resolve().is_file()


def test_public_names_have_their_docstrings(site):
    page = (site / "api" / "labkit" / "index.html").read_text(encoding="utf-8")
    for name in ("Recipe", "TrainPanel", "History", "sweep", "report"):
        assert f'id="labkit.{name}"' in page
    assert "One training run: the task" in page


def test_entries_stand_with_formula_and_source(site):
    from labkit import OPTIMIZERS

    page = (site / "reference" / "names" / "index.html").read_text(encoding="utf-8")
    for name in OPTIMIZERS:
        assert f"<code>{name}</code>" in page


def test_it_loads_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        if "executed" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not re.findall(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//', text), path
            assert not re.findall(r'<link[^>]* rel="stylesheet"[^>]*href="https?://', text), path


def test_a_notebook_that_was_not_executed_is_named(tmp_path):
    done = build(tmp_path / "site", tmp_path / "nothing")
    assert done.returncode != 0
    assert "0 executed pages of 00_start_here" in done.stdout + done.stderr


# --- its parts


def part(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_grouped_arguments_are_taken_apart():
    text = "Args:\n    x1, x2: the inputs,\n        two of them.\n    seed: draws them.\n"
    assert part("grouped").ungrouped(text) == (
        "Args:\n    x1: the inputs,\n        two of them.\n    x2: the inputs,\n"
        "        two of them.\n    seed: draws them.\n"
    )


def test_the_api_has_every_public_function_and_class():
    import labkit

    hooks = part("hooks")
    listed = {name for _, name in hooks.public_names("labkit")}
    public = {
        f"labkit.{name}"
        for name in labkit.__all__
        if callable(getattr(labkit, name)) and not name.isupper() and not name.startswith("_")
    }
    assert public <= listed


def test_a_function_with_the_name_of_its_module_is_the_function():
    listed = {name for _, name in part("hooks").public_names("labkit.weights")}
    assert {"labkit.weights.load.load", "labkit.weights.Weights"} <= listed


def test_a_bar_does_not_end_a_cell():
    assert part("hooks").table([{"name": "abs", "formula": "|x|", "source": ""}]) == (
        "| name | formula |\n| --- | --- |\n| `abs` | \\|x\\| |"
    )
