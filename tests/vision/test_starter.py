"""The weights that ship, and what their card says of them."""

from __future__ import annotations

import re

import pytest

from labkit.vision.data import open_data
from labkit.vision.detector import open_detector
from labkit.vision.evaluation import evaluate
from labkit.vision.pretraining import Plan
from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import export
from labkit.weights import load
from labkit.weights.find import STARTER_CARD

CARD = STARTER_CARD.read_text(encoding="utf-8")


def on_the_card(head: str) -> float:
    row = re.search(rf"^\| {head}.*?\| ([\d.]+) \|", CARD, re.MULTILINE)
    assert row, head
    return float(row[1])


def test_the_card_is_of_this_file_and_of_this_plan():
    weights = load("starter")
    assert weights.sha256 in CARD
    assert f"{weights.size:,} bytes" in CARD
    assert weights.size < 6e6
    for cycle in Plan().cycles:
        assert f"learning rate up to {cycle.lr:g}" in CARD
        for stage in cycle.stages:
            assert f"{stage.images:,} at {stage.size} px" in CARD


@pytest.mark.parametrize(("head", "nms"), [("end-to-end", False), ("one-to-many", True)])
def test_it_finds_what_the_card_says(head, nms, tmp_path):
    """On a few other held-out scenes, of another seed; the card's are a thousand."""
    yaml = export(scenes.draw, scenes.NAMES, tmp_path / "few", {"train": 1, "val": 60}, 320, seed=7)
    found = evaluate(open_detector("starter"), open_data(yaml), imgsz=320, nms=nms)
    assert on_the_card(head) >= 0.9
    assert found.map50 == pytest.approx(on_the_card(head), abs=0.06)
