"""Cases of 08_pretrained_yolo: few and small images."""

from __future__ import annotations

import pytest

from tests.notebooks.cases.case import Case, Results


def what_a_reader_is_told(results: Results) -> None:
    """Each claim beside a picture, at a size that a test can afford."""
    assert results["weights"] == "the starter weights that come with labkit"
    assert results["data"] == "drawn by labkit"
    assert results["map50"] > 0.4, "it knows what it was taught"
    assert 0 < results["map"] < results["map50"]
    assert results["random_map50"] < 0.01, "before training, predictions are guesses"
    assert results["damaged_map50"] < results["map50"]
    assert results["every_bit_restored"] is True
    amounts = results["amounts"]
    for curve in (results["map50_by_noise"], results["map50_by_pruning"]):
        assert curve[0] == results["map50"]
        assert curve[amounts.index(0.8)] < 0.1 * results["map50"]
    assert results["map50_by_pruning"][amounts.index(0.5)] < 0.5 * results["map50"]
    assert results["worst_layer"] in ("model.0", "model.1", "model.23"), "at both ends"
    assert results["edges_trained"] > 1.5 * results["edges_random"]
    assert results["edges_random"] == pytest.approx(2 / 9, abs=0.06), "of 16 filters, by chance"
    assert results["learned"] > 2_000_000 > 20_000 > results["buffers"]


def another_kind_of_damage(results: Results) -> None:
    assert results["damage"].startswith("shuffle 1 in all layers")
    assert results["damaged_map50"] < 0.05
    assert results["every_bit_restored"] is True


FIGURES = 12
CASES = [
    Case("08", {"images": 6, "imgsz": 160}, FIGURES, what_a_reader_is_told),
    Case("08", {"images": 2, "imgsz": 96, "damage": "shuffle"}, FIGURES, another_kind_of_damage),
]
