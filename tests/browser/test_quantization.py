"""Notebook 10: from the microscope to the verdict, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.browser.pages import Notebook, Panel, eventually
from tests.browser.test_yolo import bring

NAME = "10_quantization"


@pytest.fixture
def notebook(ran: Callable[[str], Notebook]) -> Iterator[Notebook]:
    notebook = ran(NAME)
    notebook.page.set_viewport_size({"width": 1440, "height": 1200})
    yield notebook
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


def test_training_shows_its_weights_on_the_grid(notebook: Notebook):
    panel = notebook.panel("Start")
    bring(panel)
    assert panel.state == "finished"
    words = "rounded to 8 bits per channel"
    eventually(panel.page, lambda: words in panel.root.inner_text(), words)
    grid = panel.figure("model.7.conv, float, on their grid of 8 bits")
    grid.wait_until_still()
    assert len(grid.curve("distance to the nearest level")) == 4, "every second of eight steps"


def test_an_ordinary_run_has_no_grid(notebook: Notebook):
    panel = notebook.panel("Start")
    bring(panel)
    panel.unfold("Training")
    panel.drag("qat", -400)
    assert panel.readout("qat") == "0"
    panel.press("Start")
    panel.until(lambda p: p.state != "finished", "another run")
    panel.until_state("finished")
    assert panel.root.get_by_role("img", name=re.compile("on their grid")).count() == 0


def test_the_search_ends_with_a_verdict(notebook: Notebook):
    said = notebook.page.locator(".jp-OutputArea-output").filter(
        has_text=re.compile(r"Take (ONNX Runtime|OpenVINO) ")
    )
    for cell in notebook.page.locator(".jp-Notebook .jp-Cell").all():
        cell.scroll_into_view_if_needed()  # what is far away is drawn later
    eventually(notebook.page, said.count, "a verdict")
    drawn = notebook.page.locator(".js-plotly-plot")
    picture = drawn.filter(has_text=re.compile("milliseconds per image"))
    eventually(notebook.page, picture.count, "the picture of all candidates")


def test_the_microscope_follows_the_slider(notebook: Notebook):
    button = notebook.page.get_by_role("button", name=re.compile("Draw the curve"))
    panel = Panel(notebook.page, notebook.page.locator(".jp-OutputArea").filter(has=button).first)
    bring(panel)
    before = panel.root.inner_text()
    panel.drag("bits", -60)
    eventually(
        notebook.page,
        lambda: (
            "Weights at 2 bits" in panel.root.inner_text()
            or "Weights at 3 bits" in panel.root.inner_text()
        ),
        "the detector is measured at fewer bits",
    )
    assert panel.root.inner_text() != before
