"""A real JupyterLab in a real Chromium, for the benchmarks that need one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from playwright.sync_api import Page, sync_playwright

from tests.browser_setup import ARGS, find

ANSWERED = "/\\d/.test(document.querySelector('.jp-CodeCell .jp-InputPrompt').textContent)"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def notebook(path: Path, cells: list[str]) -> None:
    """Write a notebook of code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    book.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    nbformat.write(book, path)


@contextlib.contextmanager
def server(command: list[str], cwd: Path | None = None) -> Iterator[str]:
    """Start a JupyterLab and give its URL with the token; end it afterwards."""
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "HOME": home, "PLOTLY_RENDERER": "plotly_mimetype"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                found = re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/\S*token=\S+", line)
                if found:
                    _await_port(int(found.group(1)))
                    yield found.group(0)
                    break
            else:
                raise RuntimeError(f"{command} ended without a URL")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def _await_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """A page of a headless Chromium, 1280 by 900."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=ARGS)
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 900})
        finally:
            browser.close()


def run_all(page: Page, url: str, name: str) -> None:
    """Open a notebook and run all its cells as soon as its kernel takes them.

    What is run in the moment in which a kernel starts is lost, so it is run again until
    the first cell has an answer.
    """
    page.goto(re.sub(r"/lab(/tree/[^?]*)?\?", f"/lab/tree/{name}?", url))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_selector("text=/\\| Idle/", timeout=60_000)
    for _ in range(30):
        page.click(".lm-MenuBar >> text=Run")
        page.click('.lm-Menu-itemLabel >> text="Run All Cells"')
        for _ in range(20):
            page.wait_for_timeout(100)
            prompt = page.inner_text(".jp-CodeCell .jp-InputPrompt >> nth=0")
            if re.search(r"\d", prompt):
                return
            if "*" not in prompt:
                break  # not taken, or dropped
        else:
            page.wait_for_function(ANSWERED, timeout=60_000)
            return
    raise RuntimeError(f"{name}: no cell ran")
