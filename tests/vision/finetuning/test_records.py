from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from labkit.core.errors import LabError
from labkit.training.findings import Finding
from labkit.vision.finetuning import EpochRecord, FineTuned
from tests.vision.finetuning import fake

MAPS = (0.0, 0.4, 0.7, 0.6)


def result(maps=MAPS, old=None, **more: Any) -> FineTuned:
    """A run whose best epoch is the highest mAP50 so far."""
    epochs = [
        EpochRecord(
            i, 4 * i, math.nan if i == 0 else 1 / i, {}, value, value / 2, 0.5, 0.5, 0.01, 1.0,
            value >= max(maps[: i + 1]), None if old is None else old[i],
        )
        for i, value in enumerate(maps)
    ]  # fmt: skip
    folder = Path("run")
    return FineTuned(
        fake.SPEC, folder, folder / "best", folder / "last", epochs, history=None,
        used=fake.used(fake.SPEC), transfer=None, freeze=None, **more,
    )  # fmt: skip


@pytest.mark.parametrize(("maps", "best"), [(MAPS, 2), ((0.5, 0.4), 0), ((0.1, 0.3, 0.3), 2)])
def test_the_best_epoch_is_the_last_that_was_marked(maps, best):
    assert result(maps).best_epoch.epoch == best


@pytest.mark.parametrize(("maps", "finished"), [(MAPS, True), (MAPS[:3], False)])
def test_it_is_finished_when_all_epochs_were_run(maps, finished):
    assert result(maps).finished is finished


def test_a_curve_leaves_out_what_is_no_number():
    assert result().curve("map50") == ([0, 1, 2, 3], list(MAPS))
    assert result().curve("loss") == ([1, 2, 3], [1.0, 0.5, pytest.approx(1 / 3)])
    assert result().curve("old_map50") == ([], [])
    assert result(old=(0.9, None, 0.5, 0.4)).curve("old_map50") == ([0, 2, 3], [0.9, 0.5, 0.4])


@pytest.mark.parametrize("name", ["parts", "best", "map5", ""])
def test_a_curve_that_is_none_is_refused(name):
    with pytest.raises(LabError, match=r"is not known\. Choose from epoch, step, loss, map50"):
        result().curve(name)


@pytest.mark.parametrize(
    ("wanted", "epoch"), [(0.0, 0), (0.4, 1), (0.41, 2), (0.7, 2), (0.71, None)]
)
def test_epochs_to_a_precision(wanted, epoch):
    assert result().epochs_to(wanted) == epoch


def test_the_summary_is_flat():
    row = result(seconds=12.34).summary()
    assert (row["epochs"], row["best_epoch"], row["map50"], row["map"]) == (3, 2, 0.7, 0.35)
    assert (row["optimizer"], row["lr"], row["seconds"]) == ("AdamW", 0.004, 12.3)
    assert "old_map50" not in row
    assert "finding" not in row
    finding = Finding("kind", "It did.", "", {})
    row = result(old=(0.9, 0.8, 0.5, 0.4), finding=finding).summary()
    assert (row["old_map50"], row["finding"]) == (0.5, "It did.")
