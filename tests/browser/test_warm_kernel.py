"""The kernel "labkit, warm", chosen in JupyterLab as any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

from tests.browser.pages import PATIENCE, Notebook

# A plain kernel has not imported torch before its first cell.
CELLS = ["import sys\nprint('torch is there:', 'torch' in sys.modules)", "1 + 1"]


def test_it_is_chosen_runs_and_restarts(folder: Path, opened: Callable[[str], Notebook], lab: str):
    nbformat.write(new_notebook(cells=[*map(new_code_cell, CELLS)]), folder / "choosing.ipynb")
    notebook = opened("choosing")
    page = notebook.page

    def run() -> None:
        notebook.run_all()
        expect(page.locator(".jp-OutputArea-output").first).to_have_text("torch is there: True\n")
        expect(page.locator(".jp-OutputArea-output").last).to_have_text("2")

    notebook.menu("Kernel", "Change Kernel")
    dialog = page.locator(".jp-Dialog")
    dialog.locator("select").select_option(label="labkit, warm")
    dialog.get_by_role("button", name="Select Kernel").click()
    status = page.locator("#jp-main-statusbar")
    expect(status).to_contain_text("labkit, warm | Idle", timeout=PATIENCE * 1000)
    run()
    notebook.menu("Kernel", "Restart Kernel and Clear Outputs")
    dialog.locator(".jp-mod-accept").click()
    expect(dialog).to_have_count(0)
    expect(status).to_contain_text("labkit, warm | Idle", timeout=PATIENCE * 1000)
    run()
    problems, notebook.problems = notebook.problems, []
    unforeseen = [problem for problem in problems if "a dialog opened" not in problem]
    assert not unforeseen, "\n".join(unforeseen)
