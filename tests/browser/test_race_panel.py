"""The race of notebook 06, and the knobs of notebook 01."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.pages import Notebook, Panel, eventually

CURVES = "Loss curves"


@pytest.fixture
def race(converging: Notebook) -> Panel:
    panel = converging.panel("Race")
    panel.show()
    panel.press("Rewind")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "a new start")
    return panel


def bold(race: Panel) -> list[str]:
    """The contenders on the picture."""
    figure = race.figure(CURVES)
    figure.wait_until_still()
    return list(dict.fromkeys(figure.data("legendgroup")))


def test_four_race_from_the_same_weights(race: Panel):
    assert len(bold(race)) == 4
    assert race.root.get_by_text("same initial weights").count() == 4
    race.press("Race")
    race.until_state("finished")
    figure = race.figure(CURVES)
    figure.wait_until_still()
    ends = [y[-1] for y in figure.data("y")]
    assert len(ends) == 12  # batches, validation loss and accuracy of each
    assert len(set(ends)) > 8, "they ended alike"


def test_contenders_come_and_go(race: Panel):
    rows = race.button("Remove")
    race.enter("new contender", "optimizer=rmsprop lr=0.003")
    race.press("Add")
    expect(rows).to_have_count(5)
    eventually(race.page, lambda: len(bold(race)) == 5, "five curves")
    rows.last.click()
    expect(rows).to_have_count(4)
    eventually(race.page, lambda: len(bold(race)) == 4, "four curves")


def test_a_wrong_contender_is_answered(race: Panel):
    race.enter("new contender", "optimizer=rmspro")
    race.press("Add")
    assert "rmsprop" in race.alert()
    expect(race.button("Remove")).to_have_count(4)
    race.enter("new contender", "optimizer=rmsprop")
    race.press("Add")
    expect(race.root.get_by_role("alert")).to_have_count(0)
    race.button("Remove").last.click()
    expect(race.button("Remove")).to_have_count(4)
    race.field("new contender").fill("")


@pytest.fixture
def knobs(what_weights_are: Notebook) -> Panel:
    panel = what_weights_are.panel("One step downhill")
    panel.show()
    return panel


def test_a_knob_moves_the_line(knobs: Panel):
    said = knobs.root.locator(".widget-html").first
    line = knobs.root.locator(".labkit-figure").first
    before, picture = said.inner_text(), line.screenshot()
    assert before.startswith("loss")
    knobs.drag("weight", 20)
    expect(said).not_to_have_text(before)
    assert float(knobs.readout("weight")) > 0
    eventually(knobs.page, lambda: line.screenshot() != picture, "the line moves")


def test_a_step_downhill_turns_both_knobs(knobs: Panel):
    def loss() -> float:
        return float(knobs.root.locator(".widget-html b").first.inner_text())

    for _ in range(3):
        before, at = loss(), (knobs.readout("weight"), knobs.readout("bias"))
        knobs.press("One step downhill")
        eventually(knobs.page, lambda before=before: loss() < before, "a smaller loss")
        assert (knobs.readout("weight"), knobs.readout("bias")) != at
