"""The map of notebook 05: run a sweep, click a cell, see that run's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.pages import Figure, Notebook, Panel, eventually

MAP = "Map of the validation loss"


@pytest.fixture
def sweep(ran: Callable[[str], Notebook]) -> Iterator[Panel]:
    """The panel with a small sweep done."""
    notebook = ran("05_learning_rate")
    notebook.page.set_viewport_size({"width": 1440, "height": 1200})
    panel = notebook.panel("Run the sweep")
    panel.show()
    panel.enter("their values", "kaiming_normal, zeros")
    panel.enter("learning rates", "0.001, 0.01, 0.1")
    panel.enter("steps", "60")
    run(panel)
    yield panel
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


def run(panel: Panel) -> None:
    panel.press("Run the sweep")
    expect(panel.button("Run the sweep")).to_be_enabled()
    eventually(panel.page, lambda: "finished · 6 networks" in panel.root.inner_text(), "it ran")
    panel.figure(MAP).wait_until_still()


def click(panel: Panel, row: int, column: int) -> None:
    """Click the middle of a cell of the 2 by 3 map."""
    area = panel.figure(MAP).root.locator(".plotly .nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box
    x, y = box["x"] + (column + 0.7) / 3 * box["width"], box["y"] + (row + 0.7) / 2 * box["height"]
    panel.page.mouse.move(x - 3, y)
    panel.page.mouse.move(x, y)
    panel.figure(MAP).root.locator(".hoverlayer .hovertext").first.wait_for()
    panel.page.mouse.click(x, y)


def picture(panel: Panel, run: str) -> Figure:
    found = panel.figure(f"{run}")
    found.wait_until_still()
    return found


def test_a_click_shows_that_runs_weights(sweep: Panel):
    click(sweep, 1, 2)
    zeros = picture(sweep, "zeros, learning rate 0.1").data("y")
    assert not any(any(line) for line in zeros if line), "all its weights stay at zero"
    click(sweep, 0, 0)
    other = picture(sweep, "kaiming_normal, learning rate 0.001").data("y")
    assert any(any(line) for line in other if line)
    expect(sweep.field("look at")).to_have_value("kaiming_normal, learning rate 0.001")
    sweep.field("look at").select_option("kaiming_normal, learning rate 0.1")
    further = picture(sweep, "kaiming_normal, learning rate 0.1").data("y")
    assert further != other


def test_a_slip_is_answered(sweep: Panel):
    sweep.enter("learning rates", "0.1, fast")
    sweep.press("Run the sweep")
    assert "1e-3:1e-1:log:5" in sweep.alert()
    sweep.enter("learning rates", "0.001, 0.01, 0.1")
    run(sweep)
    expect(sweep.root.get_by_role("alert")).to_have_count(0)


def test_stop(sweep: Panel):
    sweep.enter("steps", "100000")
    sweep.press("Run the sweep")
    expect(sweep.button("Stop")).to_be_enabled()
    sweep.press("Stop")
    eventually(sweep.page, lambda: "stopped" in sweep.root.inner_text(), "it stopped")
    expect(sweep.button("Run the sweep")).to_be_enabled()
