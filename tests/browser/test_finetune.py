"""Notebook 09: fine-tune a detector live, stop it, compare before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.pages import Notebook, Panel, eventually

CURVES = "Fine-tuning: losses, precision and learning rate"
UPDATES = "How far each layer is moved"


@pytest.fixture
def panel(ran: Callable[[str], Notebook]) -> Iterator[Panel]:
    """The panel, whose run the notebook has waited for."""
    notebook = ran("09_fine_tuning")
    notebook.page.set_viewport_size({"width": 1440, "height": 1200})
    found = notebook.panel("Start")
    found.show()
    yield found
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


def test_a_run_ends_with_before_and_after(panel: Panel):
    assert panel.state == "finished"
    panel.figure(CURVES).wait_until_still()
    assert len(panel.figure(CURVES).curve("mAP50")) == 2, "before, and after the only epoch"
    (rows,) = panel.figure(UPDATES).data("z")
    assert len(rows) > 15
    pictures = panel.root.get_by_role("img", name="Detections on labelled, before, after")
    expect(pictures).to_have_count(3)
    assert "really used: AdamW" in panel.root.inner_text()


def test_it_is_live_and_stops(panel: Panel):
    panel.enter("epochs", "200")
    panel.press("Start")
    panel.until(lambda p: p.state == "running" and p.step > 4, "some steps")
    assert "left" in panel.status
    expect(panel.button("Start")).to_be_disabled()
    panel.press("Stop")
    panel.until_state("stopped")
    step = panel.step
    assert step < 1600
    expect(panel.button("Start")).to_be_enabled()
    panel.figure(CURVES).wait_until_still()
    panel.enter("epochs", "1")


def test_auto_says_that_it_ignores_the_slider(panel: Panel):
    panel.field("optimizer").select_option("auto")
    eventually(panel.page, lambda: "are ignored" in panel.root.inner_text(), "a word on it")
    panel.field("optimizer").select_option("adamw")


def test_bad_data_is_answered_before_training(panel: Panel):
    panel.enter("data", "nothing.yaml")
    panel.press("Start")
    assert "nothing.yaml" in panel.alert()
    assert "failed" in panel.root.inner_text()
    panel.enter("data", "cells")
