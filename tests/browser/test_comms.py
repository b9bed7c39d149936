"""A panel answers while a cell computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
from playwright.sync_api import expect

from tests.browser.pages import Notebook, eventually

COMPUTES = """
import time
end = time.time() + 12
while time.time() < end:
    sum(range(1000))
"""


def test_a_panel_answers_while_a_cell_computes(opened: Callable[[str], Notebook], folder: Path):
    cells = [
        nbformat.v4.new_code_cell("import labkit\nlabkit.NeuronPanel()"),
        nbformat.v4.new_code_cell(COMPUTES),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, folder / "computing.ipynb")
    seen = opened("computing")
    seen.menu("Run", "Run All Cells")
    panel = seen.panel("One step downhill")
    panel.button("One step downhill").wait_for()
    computing = seen.page.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea-prompt")
    expect(computing).to_have_text("[*]:")
    words = panel.root.locator(".widget-html").first
    before = words.inner_text()
    panel.press("One step downhill")
    eventually(seen.page, lambda: words.inner_text() != before, "the loss after a step")
    assert computing.inner_text().startswith("[*]"), "the step was made only after the cell"
    assert not seen.problems
