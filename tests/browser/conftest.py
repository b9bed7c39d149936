"""A real JupyterLab, started cold, and a real browser that complains about nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser_setup import ARGS, find, required

if not required():
    pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.pages import Notebook

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "notebooks"
LONG = ("09_fine_tuning", "10_quantization")  # as a reader runs them, they take minutes
PICTURED = {"10_quantization": {"epochs": 12, "candidates": ["ONNX Runtime fp32"]}}
_looked_at: list[Notebook] = []  # by tests that open notebooks by name, the last one last
LAB = [sys.executable, "-c", "from labkit.cli import main; main()", "lab"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.failed:
        for value in [*getattr(item, "funcargs", {}).values(), *_looked_at[-1:]]:
            if isinstance(value, Notebook):
                path = Path(tempfile.mkdtemp(prefix="labkit-browser-"), f"{item.name}.png")
                with contextlib.suppress(Exception):
                    value.page.screenshot(path=path)
                    report.sections.append(("browser", f"the page looked like this: {path}"))
    return report


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has never used Jupyter here."""
    folder = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "XDG", "PLOTLY"))}
    own = {"HOME": str(folder), "IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}
    return {**kept, **own}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lab keeps its notebooks; a test may add one of its own."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    for name in LONG:
        pictured = PICTURED.get(name) if os.environ.get("LABKIT_PICTURES") else None
        give(name, folder, pictured)
    return folder


def give(name: str, folder: Path, values: dict[str, Any] | None = None) -> None:
    """Put a notebook there that begins with such values, or its own for a quick run."""
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    given = notebook["metadata"]["labkit"]["fast"] if values is None else values
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            cell["source"] += [f"\n{key} = {value!r}" for key, value in given.items()]
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture(scope="session")
def lab(home: dict[str, str], folder: Path) -> Iterator[str]:
    """The address of a running lab, `{0}` in the place of the notebook's name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*LAB, str(folder), "--no-browser", "--port", str(port)],
        env=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    try:
        yield _address(process, said)
    finally:
        process.terminate()  # a lab ends its kernels; JupyterLab asks nothing here
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[str], said: list[str]) -> str:
    assert process.stdout
    for line in process.stdout:
        said.append(line)
        if url := re.search(r"http://\S+token=\w+", line):
            break
    else:
        pytest.fail("the lab did not start:\n" + "".join(said))
    # Somebody must read on, or a full pipe stops the lab.
    threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True).start()
    parts = urllib.parse.urlsplit(url[0])
    for _ in range(300):
        with contextlib.suppress(OSError):
            socket.create_connection((parts.hostname, parts.port), timeout=10).close()
            # A workspace each, or opening one notebook restores the tabs of those before.
            return f"http://{parts.netloc}/lab/workspaces/{{0}}/tree/{{0}}.ipynb?{parts.query}"
        time.sleep(0.1)
    pytest.fail("the lab does not answer:\n" + "".join(said))


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = find()
    if path is None:
        (pytest.fail if required() else pytest.skip)("no Chromium or Chrome: see make test")
    browser = playwright.chromium.launch(executable_path=path, args=ARGS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def opened(lab: str, browser: Browser) -> Iterator[Callable[[str], Notebook]]:
    """Open a notebook, once a session: `opened("06_weights_converging")`."""
    notebooks: dict[str, Notebook] = {}

    def open_notebook(name: str) -> Notebook:
        if name not in notebooks:
            # A clipboard is not needed, nor anything else that asks for permission.
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            notebooks[name] = Notebook(page)
            notebooks[name].open(lab.format(name))
        _looked_at.append(notebooks[name])
        return notebooks[name]

    yield open_notebook
    for notebook in notebooks.values():
        notebook.page.context.close()


def _without_problems(notebook: Notebook) -> Iterator[Notebook]:
    notebook.page.set_viewport_size({"width": 1440, "height": 900})
    yield notebook
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def ran(opened: Callable[[str], Notebook]) -> Callable[[str], Notebook]:
    """A notebook all of whose cells have run."""
    done: set[str] = set()

    def run(name: str) -> Notebook:
        notebook = opened(name)
        if name not in done:
            notebook.run_all()
            done.add(name)
        return notebook

    return run


@pytest.fixture
def start_here(ran: Callable[[str], Notebook]) -> Iterator[Notebook]:
    yield from _without_problems(ran("00_start_here"))


@pytest.fixture
def what_weights_are(ran: Callable[[str], Notebook]) -> Iterator[Notebook]:
    yield from _without_problems(ran("01_what_weights_are"))


@pytest.fixture
def converging(ran: Callable[[str], Notebook]) -> Iterator[Notebook]:
    yield from _without_problems(ran("06_weights_converging"))
