"""Notebook 06 from a cold start: train, drag, look, pause, rewind."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.pages import Notebook, Panel, eventually

BASE = "task=spiral lr=0.02 batch_size=10 steps=5000 seed=0"
LONG = BASE.replace("5000", "30000")  # not over while a test looks
BOUNDARY = "Decision boundary"
LOSS = "Loss curves"


@pytest.fixture
def panel(converging: Notebook) -> Panel:
    """The panel as it is at first, paused at step 0."""
    panel = converging.panel("Train")
    panel.show()
    begin(panel, BASE)
    look_at(panel, BOUNDARY)
    return panel


def begin(panel: Panel, text: str) -> None:
    panel.enter("share", text)
    expect(panel.field("share")).to_have_value(text)
    panel.press("Rewind")  # another number of steps alone would go on
    panel.until(lambda p: p.state == "ready" and p.step == 0, "a new start")


def look_at(panel: Panel, view: str, tensor: str | None = None) -> None:
    panel.field("view").select_option(view)
    if tensor:
        panel.field("tensor").select_option(tensor)


def weights(panel: Panel) -> list[list[float]]:
    """The first layer's weights, read off the heat map."""
    look_at(panel, "Weights as a heat map", "layer1.weight")
    heatmap = panel.figure("Heat map of layer1.weight")
    heatmap.wait_until_still()
    return heatmap.data("z")[0]


def test_it_stands_still_at_step_0(panel: Panel):
    assert panel.step == 0
    expect(panel.button("Train")).to_be_enabled()
    expect(panel.button("Pause")).to_be_disabled()
    panel.figure(LOSS).wait_until_still()
    panel.figure(BOUNDARY).wait_until_still()
    assert len(panel.figure(LOSS).curve("validation set")) <= 1


def test_training_moves_everything(panel: Panel):
    begin(panel, LONG)
    boundary, loss = panel.figure(BOUNDARY), panel.figure(LOSS)
    boundary.wait_until_still()
    before, guess = boundary.data("z")[0], panel.accuracy
    panel.press("Train")
    panel.until(lambda p: p.step > 0, "a first step")
    early = loss.picture()
    panel.until(lambda p: p.step > 2000 and p.accuracy > guess + 20, "it learns")
    assert loss.picture() != early, "the curve is not live"
    panel.press("Pause")
    panel.until_state("paused")
    curve = loss.curve("validation set")
    assert len(curve) > 3
    assert min(curve) < 0.8 * curve[0]
    boundary.wait_until_still()
    assert boundary.data("z")[0] != before


def test_pause_holds_and_train_goes_on(panel: Panel):
    begin(panel, LONG)
    panel.press("Train")
    panel.until(lambda p: p.step > 100, "100 steps")
    panel.press("Pause")
    panel.until_state("paused")
    held, curve = panel.step, panel.figure(LOSS).curve("validation set", "x")
    panel.page.wait_for_timeout(500)  # nothing to wait for: nothing may happen
    assert panel.step == held
    assert panel.figure(LOSS).curve("validation set", "x") == curve
    panel.press("Step")
    panel.until(lambda p: p.step == held + 1, "one step more")
    panel.press("Train")
    panel.until(lambda p: p.step > held + 100, "it goes on")
    panel.press("Pause")


def test_rewind_returns_to_the_very_same_weights(panel: Panel):
    begin(panel, LONG)
    initial = weights(panel)
    panel.press("Train")
    panel.until(lambda p: p.step > 500, "500 steps")
    panel.press("Pause")
    panel.until_state("paused")
    assert weights(panel) != initial
    panel.press("Rewind")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "step 0")
    eventually(panel.page, lambda: weights(panel) == initial, "the initial weights")


def test_rewind_while_it_trains(panel: Panel):
    begin(panel, LONG)
    initial = weights(panel)
    panel.press("Train")
    panel.until(lambda p: p.step > 100, "100 steps")
    panel.press("Rewind")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "step 0")
    eventually(panel.page, lambda: weights(panel) == initial, "the initial weights")


def test_new_weights_are_other_weights(panel: Panel):
    initial = weights(panel)
    panel.press("New weights")
    panel.until(lambda p: "seed=1" in p.field("share").input_value(), "the next seed")
    eventually(panel.page, lambda: weights(panel) != initial, "other weights")
    assert panel.step == 0


def test_dragging_the_learning_rate_before_training(panel: Panel):
    panel.drag("learning rate", 25)
    panel.until(lambda p: p.readout("learning rate") != "0.02", "another rate")
    rate = panel.readout("learning rate")
    assert float(rate) > 0.02
    expect(panel.field("share")).to_have_value(BASE.replace("0.02", rate))
    assert panel.figure(LOSS).root.locator(".annotation").count() == 0, "nothing ran yet"


def test_dragging_the_learning_rate_while_it_trains(panel: Panel):
    begin(panel, LONG)
    panel.press("Train")
    panel.until(lambda p: p.step > 300, "300 steps")
    panel.drag("learning rate", 12)
    panel.until(lambda p: p.readout("learning rate") != "0.02", "another rate")
    panel.until(
        lambda p: f"lr={p.readout('learning rate')} " in p.field("share").input_value(),
        "the recipe follows the slider",
    )
    rate = panel.readout("learning rate")
    step = panel.step
    panel.until(lambda p: p.state == "running" and p.step > step, "it goes on")
    panel.press("Pause")
    panel.until_state("paused")
    loss = panel.figure(LOSS)
    loss.wait_until_still()
    assert f"lr {rate}" in loss.words(), "no mark on the curve"


def test_weights_while_they_converge(panel: Panel):
    begin(panel, LONG)
    look_at(panel, "Weights while they converge", "layer2.weight")
    panel.press("Train")
    panel.until(lambda p: p.step > 500, "500 steps")
    look_at(panel, "Weights while they converge", "output.weight")
    panel.until(lambda p: p.step > 1000, "1000 steps")
    panel.press("Pause")
    panel.until_state("paused")
    lines = panel.figure("Weights of output.weight while they converge")
    lines.wait_until_still()
    assert len(lines.data("y")) == 16  # two outputs, eight units
    assert all(len(line) > 20 for line in lines.data("y"))
    look_at(panel, BOUNDARY)
    expect(panel.field("tensor")).to_be_hidden()


def test_nonsense_is_answered_where_it_is_typed(panel: Panel):
    panel.unfold("Network")
    panel.enter("hidden", "many")
    assert "hidden" in panel.alert()
    expect(panel.field("hidden")).to_have_value("8, 8")
    panel.enter("hidden", "4")
    panel.until(lambda p: "hidden=4" in p.field("share").input_value(), "one layer of 4")
    expect(panel.root.get_by_role("alert")).to_have_count(0)
    panel.enter("share", "task=sprial")
    assert "spiral" in panel.alert()
    panel.unfold("Network")
    panel.press("Step")
    panel.until(lambda p: p.step == 1, "a step")


def test_another_init_starts_anew(panel: Panel):
    panel.press("Step")
    panel.until(lambda p: p.step == 1, "a step")
    panel.field("init").select_option("zeros")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "a new start")
    eventually(panel.page, lambda: not any(map(any, weights(panel))), "all weights are zero")


def test_another_task_brings_its_own_picture(panel: Panel):
    panel.field("task").select_option("digits")
    panel.figure("Predictions of validation pictures").wait_until_still()
    panel.field("task").select_option("regression")
    panel.figure("Fitted curve").wait_until_still()


def test_a_run_that_explodes_says_so(panel: Panel):
    text = "task=regression optimizer=sgd lr=10 hidden=32-32 activation=relu seed=0"
    panel.enter("share", text)
    panel.until(lambda p: "lr=10" in p.field("share").input_value() and p.step == 0, "the recipe")
    panel.press("Train")
    panel.until_state("diverged")
    assert "learning rate" in panel.alert().lower()
    assert "Traceback" not in panel.page.locator("body").inner_text()
    panel.press("Rewind")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "step 0")
    expect(panel.root.get_by_role("alert")).to_have_count(0)
    expect(panel.button("Train")).to_be_enabled()


def test_a_still_figure_tells_exact_values(panel: Panel):
    for _ in range(3):
        panel.press("Step")
    panel.until(lambda p: p.step == 3, "three steps")
    boundary = panel.figure(BOUNDARY)
    boundary.wait_until_still()
    assert "P(class 1) = 0." in boundary.hover(0.05, 0.05)


def test_the_keyboard_is_enough(panel: Panel):
    page = panel.page
    panel.field("task").focus()
    for label in ("init", "optimizer"):
        page.keyboard.press("Tab")
        expect(panel.field(label)).to_be_focused()
    page.keyboard.press("Tab")
    expect(panel.slider("learning rate")).to_be_focused()
    page.keyboard.press("ArrowRight")
    panel.until(lambda p: p.readout("learning rate") == "0.025", "the next round number")
    expect(panel.field("share")).to_have_value(BASE.replace("0.02", "0.025"))
    panel.field("share").focus()
    page.keyboard.press("Tab")
    expect(panel.button("Train")).to_be_focused()
    page.keyboard.press("Space")
    panel.until(lambda p: p.step > 50, "it trains")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    panel.until_state("paused")


@pytest.mark.parametrize(
    "view",
    [
        "Network diagram",
        "Histogram over time",
        "Weights now and before",
        "Gradient flow by layer",
        "Update ratio by layer",
    ],
)
def test_every_view_draws(panel: Panel, view: str):
    begin(panel, LONG)
    look_at(panel, view)
    panel.press("Train")
    panel.until(lambda p: p.step > 200, "200 steps")
    panel.press("Pause")
    panel.until_state("paused")
    drawn = (
        panel.root.locator(".labkit-figure")
        .nth(1)
        .locator(".scatterlayer path, .barlayer path, .heatmaplayer image")
    )
    eventually(panel.page, lambda: drawn.count() > 0, f"{view} has drawn")


def test_a_reload_brings_the_figures_back(panel: Panel, converging: Notebook):
    for _ in range(2):
        panel.press("Step")
    panel.until(lambda p: p.step == 2, "two steps")
    converging.menu("File", "Save Notebook")
    expect(panel.page.locator(".jp-mod-dirty")).to_have_count(0)
    converging.page.reload()
    converging.wait_for_kernel()
    panel = converging.panel("Train")
    panel.root.wait_for()
    panel.show()
    panel.figure(BOUNDARY).wait_until_still()
    assert panel.step == 2
    panel.press("Step")
    panel.until(lambda p: p.step == 3, "it is alive")
