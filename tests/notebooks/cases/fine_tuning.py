"""Cases of 09_fine_tuning: tiny images and few epochs, so little is learnt, and all is reported."""

from __future__ import annotations

from tests.notebooks.cases.case import Case, Results


def proofs(results: Results) -> None:
    """What holds however little was learnt."""
    assert results["origin"] == "drawn by labkit"
    assert results["seconds"] > 0
    # Nothing is taken over but what has the same name and shape: all but the class rows.
    assert results["copied"] > 10 * (results["new"] + results["remapped"]) > 0
    # Statistics of frozen layers move, their weights do not; with the switch nothing does.
    assert results["frozen_tensors"] > results["moved_though_frozen"] > 0
    assert results["moved_statistics"] == results["moved_though_frozen"]
    assert results["moved_with_the_switch"] == 0


def cells_from_the_starter(results: Results) -> None:
    proofs(results)
    assert results["optimizer"] == "AdamW"
    assert results["remapped"] == 0 < results["new"], "no cell is called as a shape is"
    assert results["lr"] == 0.002, "what was asked for is what was used"
    assert results["head_start_after"] is not None
    before = results["old_before"]
    assert 0 <= before <= 1
    runs = results["forgetting"]
    assert list(runs) == [
        "all layers, lr 0.002",
        "all layers, lr 0.0002",
        "5 layers frozen, lr 0.002",
    ]
    # Small steps stay near what was known.
    assert abs(runs["all layers, lr 0.0002"]["old"] - before) <= before


def parts_and_nothing_old(results: Results) -> None:
    """Ultralytics chooses the learning rate; nobody asks about the old classes."""
    proofs(results)
    assert results["new"] == 0 < results["remapped"], "scenes know a gear, too"
    assert results["lr"] != 0.5, "auto ignores it, and the report tells what was used"
    assert results["old_before"] is None
    assert results["forgetting"] == {}


SMALL = {"image_size": 64, "epochs": 1, "batch": 16, "freeze": 5}
AUTO = {"data": "parts", "optimizer": "auto", "lr": 0.5, "old_data": "", "seed": 1}
CASES = [
    Case("09", SMALL, 17, cells_from_the_starter),
    Case("09", {**SMALL, **AUTO}, 17, parts_and_nothing_old),
]
