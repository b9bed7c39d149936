"""Every notebook from the first cell to the last, in JupyterLab, with its widgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.pages import Notebook, eventually

NOTEBOOKS = sorted(path.stem for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SETTLED = """
[...document.querySelectorAll("[role=img][data-frame]")].every((f) => f.dataset.kind === "settle")
"""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_and_every_picture_is_drawn(ran: Callable[[str], Notebook], name: str):
    notebook = ran(name)
    page = notebook.page
    # JupyterLab draws a cell when it comes into sight: walk through all of them.
    for cell in page.locator(".jp-Notebook .jp-Cell").all():
        cell.scroll_into_view_if_needed()
    eventually(page, lambda: page.evaluate(SETTLED), "all pictures are drawn")
    live = page.locator("[role=img][data-frame]")
    still = page.locator(".jp-OutputArea-output .js-plotly-plot")
    assert live.count() + still.count() > 1
    for picture in live.all():
        assert picture.locator(".main-svg").count(), picture.get_attribute("aria-label")
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", ["02_initialization", "04_optimizers"])
def test_a_question_answers_each_choice(ran: Callable[[str], Notebook], name: str):
    page = ran(name).page
    question = page.locator(".labkit-question").first
    question.scroll_into_view_if_needed()
    buttons = question.get_by_role("button").all()
    assert len(buttons) >= 3
    said = question.get_by_role("status")
    verdicts = []
    for button in buttons:
        choice = (button.text_content() or "").strip()
        button.click()
        # From the start: a wrong choice's verdict names the right one further on.
        verdict = tuple(f"{opening}: {choice}." for opening in ("Right", "You said"))
        eventually(page, lambda verdict=verdict: said.inner_text().startswith(verdict), "a verdict")
        verdicts.append(said.inner_text().partition(":")[0])
    assert sorted(verdicts)[0] == "Right"
    assert set(verdicts) == {"Right", "You said"}
