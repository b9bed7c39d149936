from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labkit.panels.finetune_views import curves, has_grid, short, status, updates
from labkit.vision.finetuning import StepRecord
from labkit.vision.finetuning.live_run import LiveRun
from tests.vision.finetuning.fake import SPEC


def test_the_time_left_is_in_the_status(monkeypatch):
    run = LiveRun(SPEC)
    monkeypatch.setattr(LiveRun, "seconds_left", 12.0)
    run._on_step(StepRecord(6, 1, 1.0, {"box": 1.0}, 0.1, None, 12))
    assert "about 12 s left" in status(run, SPEC)


def test_before_a_run_there_are_empty_pictures_of_the_right_size():
    assert curves(None, SPEC)["layout"]["xaxis"]["range"] == [0, SPEC.epochs]
    assert not has_grid(None)
    assert status(None, SPEC) == f"<b>ready</b> · {SPEC.epochs} epochs of {SPEC.data}"


def test_updates_are_those_of_steps_that_reported_them():
    run = LiveRun(SPEC)
    for step in range(1, 5):
        moved = {"model.0": 0.1 * step, "model.1": 0.2} if step % 2 == 0 else None
        run._on_step(StepRecord(step, 1, 1.0, {"box": 1.0}, 0.1, moved, 12))
    (heat,) = updates(run, SPEC)["data"]
    assert np.shape(heat["z"]) == (2, 2)


@pytest.mark.parametrize(
    ("path", "words"),
    [(Path.home() / "runs" / "best.pt", "~/runs/best.pt"), (Path("/data/x.pt"), "/data/x.pt")],
)
def test_paths_are_written_from_home(path, words):
    assert short(path) == words
