"""The README's pictures are taken from the product as it is (`make pictures` keeps them)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect

from labkit.batch import grid, run_batch
from labkit.batch.report import report
from labkit.workshop.presets import PRESETS
from tests.browser.pages import Notebook, Panel, eventually
from tests.browser.test_yolo import bring, said

KEPT = bool(os.environ.get("LABKIT_PICTURES"))
IMAGES = Path(__file__).parents[2] / "docs" / "images"
LARGEST = 300_000  # bytes
SPIRAL = "task=spiral lr=0.02 batch_size=10 steps=5000 seed=0"
CELLS = "weights=starter data=cells epochs=10 image_size=160"
DIGITS = "task=digits lr=0.02 hidden=32 activation=relu steps=600 seed=0"


def train(panel: Panel, recipe: str, until: int) -> None:
    """Start a recipe and let it run up to a step."""
    panel.show()
    panel.enter("share", recipe)
    expect(panel.field("share")).to_have_value(recipe)
    panel.press("Rewind")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "a new start")
    panel.press("Train")
    panel.until(lambda p: p.step >= until, f"step {until}")


def rest(panel: Panel) -> None:
    panel.until(lambda p: p.state in ("finished", "paused"), "the end")
    for figure in panel.root.locator("[role=img][data-frame]").all():
        expect(figure).to_have_attribute("data-kind", "settle")
    panel.page.mouse.move(2, 2)  # no hover
    panel.page.evaluate("document.activeElement?.blur()")


def take(panel: Panel, name: str) -> None:
    """Photographs as JPEG: they are four times as large as PNG."""
    options = {"type": "jpeg", "quality": 85} if name.endswith(".jpg") else {}
    keep(panel.root.locator(".jp-OutputArea-output").first.screenshot(**options), name)


def keep(picture: bytes, name: str) -> None:
    assert 5_000 < len(picture) < LARGEST, f"{name} has {len(picture)} bytes"
    if KEPT:
        IMAGES.mkdir(parents=True, exist_ok=True)
        (IMAGES / name).write_bytes(picture)


def test_train_panel(converging: Notebook):
    panel = converging.panel("Train")
    panel.field("task").select_option("spiral")
    panel.field("view").select_option("Decision boundary")
    train(panel, SPIRAL, 3500)
    panel.drag("learning rate", -12)
    rest(panel)
    take(panel, "train-panel.png")


def test_weights(converging: Notebook):
    panel = converging.panel("Train")
    panel.field("task").select_option("spiral")
    panel.field("view").select_option("Weights while they converge")
    panel.field("tensor").select_option("layer1.weight")
    train(panel, SPIRAL, 2200)
    rest(panel)
    take(panel, "weights.png")
    panel.field("view").select_option("Decision boundary")


def test_digits(converging: Notebook):
    panel = converging.panel("Train", 1)
    train(panel, DIGITS, 10)
    rest(panel)
    take(panel, "digits.png")


def test_race(converging: Notebook):
    panel = converging.panel("Race")
    panel.show()
    panel.press("Rewind")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "a new start")
    panel.press("Race")
    rest(panel)
    take(panel, "race.png")


def test_finding(ran: Callable[[str], Notebook]):
    notebook = ran("02_initialization")
    notebook.page.set_viewport_size({"width": 1440, "height": 1000})
    panel = notebook.panel("Train")
    panel.show()
    panel.field("preset").select_option(PRESETS["dead_relus"].title)
    panel.until(lambda p: p.state == "ready" and p.step == 0, "ready to train")
    panel.press("Train")
    panel.until(lambda p: p.state == "finished", "the end")
    assert "dead" in panel.alert()
    rest(panel)
    take(panel, "finding.png")


def test_sweep(ran: Callable[[str], Notebook]):
    notebook = ran("05_learning_rate")
    notebook.page.set_viewport_size({"width": 1440, "height": 1300})
    panel = notebook.panel("Run the sweep")
    panel.show()
    panel.press("Run the sweep")
    expect(panel.button("Run the sweep")).to_be_enabled()
    eventually(panel.page, lambda: "finished" in panel.root.inner_text(), "it ran")
    panel.field("look at").select_option(index=12)
    panel.figure("Map of the").wait_until_still()
    for figure in panel.root.locator("[role=img][data-frame]").all():
        expect(figure).to_have_attribute("data-kind", "settle")
    panel.page.mouse.move(2, 2)
    take(panel, "sweep.png")


def test_break(ran: Callable[[str], Notebook]):
    notebook = ran("08_pretrained_yolo")
    notebook.page.set_viewport_size({"width": 1440, "height": 1400})
    panel = notebook.panel("Undo")
    bring(panel)
    panel.drag("amount", 30)
    said(panel, r"noise \d.*mAP50 .* → .* s$")
    panel.page.mouse.move(2, 2)
    take(panel, "break.jpg")
    panel.press("Undo")


def test_fine_tuning(ran: Callable[[str], Notebook]):
    notebook = ran("09_fine_tuning")
    notebook.page.set_viewport_size({"width": 1440, "height": 2200})
    panel = notebook.panel("Start")
    bring(panel)
    before = panel.field("share").input_value()
    if KEPT:
        panel.enter("share", CELLS)
    earlier = panel.status  # names the file of its own run
    panel.press("Start")
    panel.until(lambda p: p.state == "finished" and p.status != earlier, "the end")
    pictures = panel.root.get_by_role("img", name="Detections on labelled, before, after")
    expect(pictures).to_have_count(3)
    rest(panel)
    take(panel, "fine-tuning.jpg")
    panel.enter("share", before)


def test_microscope(ran: Callable[[str], Notebook]):
    notebook = ran("10_quantization")
    notebook.page.set_viewport_size({"width": 1440, "height": 1800})
    panel = notebook.panel("Draw the curve")
    bring(panel)
    panel.press("Draw the curve")
    curve = panel.figure("mAP50-95 against the bits")
    eventually(panel.page, lambda: len(curve.curve("symmetric channel min-max")) == 6, "all bits")
    said(panel, r"Weights at \d bits .* mAP50-95 .* → ")
    panel.page.mouse.move(2, 2)
    take(panel, "microscope.jpg")


def test_report(browser: Browser, tmp_path: Path):
    notebook = Path(__file__).parents[2] / "notebooks" / "06_weights_converging.ipynb"
    runs = grid(optimizer=["sgd", "adam", "rmsprop"], lr=[0.001, 0.01, 0.1, 1.0])
    batch = run_batch(notebook, runs, tmp_path / "opt", fast=True, progress=False)
    assert batch.counts == {"done": 12}
    page = browser.new_page(viewport={"width": 1280, "height": 3000})
    page.goto(Path(report(batch.folder.out)).resolve().as_uri())
    page.locator("#coordinates select").select_option(label="digits_accuracy")
    page.locator("#heatmap select").last.select_option(label="digits_accuracy")
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    page.wait_for_timeout(1000)
    top, bottom = (page.locator(part).bounding_box() for part in ("#coordinates", "#heatmap"))
    assert top
    assert bottom
    height = bottom["y"] + bottom["height"] - top["y"]
    clip = {"x": 0, "y": top["y"] - 12, "width": 1280, "height": height + 24}
    keep(page.screenshot(full_page=True, clip=clip), "report.png")
    page.close()
