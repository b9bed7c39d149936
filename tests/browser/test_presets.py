"""Every failure that can be chosen: it is seen to fail, and its remedy is seen to cure it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from labkit.workshop.presets import PRESETS
from tests.browser.pages import Notebook, Panel

CELL = "import labkit\n\nlabkit.TrainPanel(presets=list(labkit.PRESETS))"
SAID = {
    "symmetric_units": "are copies of each other",
    "frozen_weights": "never moved",
    "vanishing_activations": "The signal dies on its way",
    "vanishing_gradients": "The gradient shrinks on its way back",
    "exploding_activations": "the signal grows from layer to layer",
    "exploding_gradients": "the gradient grows on its way back",
    "dead_relus": "are dead",
    "saturated_units": "are saturated",
    "lr_too_high_oscillating": "The loss jumps up and down",
    "lr_too_high_diverging": "The loss went up instead of down",
    "diverged": "Training ended at step",
    "lr_too_low": "still falling, but slowly",
    "overfitting": "memorizes its samples",
}


@pytest.fixture(scope="module")
def notebook(folder: Path, lab: str, ran: Callable[[str], Notebook]) -> Notebook:
    """A notebook with one panel that offers all presets."""
    cell = {"cell_type": "code", "id": "panel", "metadata": {}, "outputs": [], "source": CELL}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": [{**cell, "execution_count": None}],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "presets.ipynb").write_text(json.dumps(content))
    return ran("presets")


@pytest.fixture
def panel(notebook: Notebook) -> Iterator[Panel]:
    panel = notebook.panel("Train")
    panel.show()
    yield panel
    problems, notebook.problems = notebook.problems, []
    assert not problems, "\n".join(problems)


def train(panel: Panel) -> None:
    panel.press("Train")
    panel.until(lambda p: p.state in ("finished", "diverged"), "the end")


@pytest.mark.parametrize("name", PRESETS)
def test_it_fails_as_announced_and_the_remedy_cures_it(panel: Panel, name: str):
    preset = PRESETS[name]
    panel.field("preset").select_option(preset.title)
    panel.until(lambda p: p.state == "ready" and p.step == 0, "ready to train")
    expect(panel.field("share")).to_have_value(preset.recipe.to_text())
    expect(panel.root.get_by_text(preset.question)).to_be_visible()
    expect(panel.root.get_by_role("alert")).to_have_count(0)
    expect(panel.button("Try the remedy")).to_have_count(0)

    train(panel)
    assert SAID[preset.kind] in panel.alert()
    expect(panel.root.get_by_text(preset.look)).to_be_visible()
    failed = panel.status
    panel.press("Try the remedy")
    panel.until(lambda p: p.state == "ready" and p.step == 0, "a new start")
    expect(panel.root.get_by_role("alert")).to_have_count(0)
    assert panel.field("share").input_value() != preset.recipe.to_text()

    train(panel)
    assert panel.state == "finished"
    expect(panel.root.get_by_role("alert")).to_have_count(0)
    if "accuracy" in failed and name != "overfitting":  # there the loss is what gets better
        assert panel.accuracy > float(failed.split("accuracy ")[1].split("%")[0])
