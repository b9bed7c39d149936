"""Pre-training as a command: a stop in the middle changes nothing, and what is published."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from labkit.core.errors import LabError
from labkit.vision import pretrain, starter
from labkit.vision.detector import open_detector
from labkit.vision.pretraining import Cycle, Plan, Pretraining, Stage
from labkit.vision.synthetic import scenes
from labkit.weights import load

TINY = Plan(cycles=(Cycle(0.1, (Stage(32, 2, 4), Stage(64, 2, 4))),), warmup=0.2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    checkpoint = pretrain.pretrain(TINY, folder, workers=0, every=1)
    return torch.load(checkpoint, weights_only=True), folder


def test_the_log_has_a_line_for_each_step(whole):
    lines = [json.loads(line) for line in (whole[1] / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"], line["size"]) for line in lines] == [
        (1, 2, 32), (2, 4, 32), (3, 6, 64), (4, 8, 64),
    ]  # fmt: skip
    assert all(np.isfinite(line["loss"]).all() for line in lines)


def test_a_stop_in_the_middle_changes_nothing(whole, tmp_path, monkeypatch):
    def stop(self: Pretraining, *what: object) -> list[float]:
        if self.step == 2:
            raise KeyboardInterrupt
        return train_on(self, *what)

    train_on = Pretraining.train_on
    monkeypatch.setattr(Pretraining, "train_on", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(TINY, tmp_path, workers=0, every=1)
    monkeypatch.undo()
    checkpoint = pretrain.pretrain(TINY, tmp_path, workers=0, every=1)
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] == whole[0]["step"] == 4
    for kind in ("network", "average"):
        for name, tensor in whole[0][kind].items():
            torch.testing.assert_close(state[kind][name], tensor, rtol=1e-4, atol=1e-5)


def test_another_plan_is_refused(whole):
    with pytest.raises(LabError, match="another plan"):
        pretrain.pretrain(Plan(seed=1), whole[1], workers=0)
    shown = CliRunner().invoke(pretrain.main, [str(whole[1]), "--workers", "0"])
    assert shown.exit_code == 1
    assert "Error: the folder holds a pre-training of another plan" in shown.output


def test_what_is_published_is_what_was_trained(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(starter, "HELD_OUT", 3)
    monkeypatch.setattr(starter, "IMGSZ", 64)
    path = starter.publish(whole[0], tmp_path)
    weights = load(path)
    assert weights.names == dict(enumerate(scenes.NAMES))
    assert weights.about["licence"] == "AGPL-3.0-or-later"
    for name, tensor in whole[0]["average"].items():
        stored = weights.tensors[name]
        assert stored.dtype == (torch.float16 if tensor.is_floating_point() else tensor.dtype)
        torch.testing.assert_close(stored.to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6)
    assert open_detector(path).names == weights.names
    card = (tmp_path / "starter.md").read_text()
    assert weights.sha256 in card
    assert "3 held-out scenes at 64 px" in card
