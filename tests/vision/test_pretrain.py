"""Pre-training: the plan's arithmetic, and that a stop in the middle changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from click import ClickException

from labkit.vision import pretrain, starter
from labkit.vision.detector import open_detector
from labkit.vision.pretrain import Cycle, Plan, Pretraining, Scenes, Stage, plan_of
from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import draw_one
from labkit.weights import load

TINY = Plan(cycles=(Cycle(0.1, (Stage(32, 2, 4), Stage(64, 2, 4))),), warmup=0.2)
TWO = Plan(cycles=(*TINY.cycles, Cycle(0.01, (Stage(64, 2, 4),))), warmup=0.25)


def test_every_image_comes_once_and_progress_counts_pixels():
    steps = list(TWO.steps())
    assert [step.first for step in steps] == [0, 2, 4, 6, 8, 10]
    assert [step.stage.size for step in steps] == [32, 32, 64, 64, 64, 64]
    total = 4 * 32**2 + 4 * 64**2
    first = [0, 2 * 32**2 / total, 4 * 32**2 / total, (4 * 32**2 + 2 * 64**2) / total]
    assert [step.progress for step in steps] == pytest.approx([*first, 0, 0.5])


def test_the_learning_rate_rises_and_falls_in_every_cycle():
    plan = Plan(cycles=(Cycle(0.1, (Stage(32, 1, 16),)), Cycle(0.01, (Stage(32, 1, 4),))))
    plan = replace(plan, warmup=0.25)
    lr = [step.lr for step in plan.steps()]
    assert lr[:5] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])
    assert lr[8] == pytest.approx(0.05 * (1 + math.cos(math.pi / 3)))
    assert lr[10] == pytest.approx(0.05)
    assert lr[16:] == pytest.approx(
        [0, 0.01, 0.0075, 0.0025]  # cosines of 0, 60 and 120 degrees
    )


def test_a_state_knows_its_plan():
    assert plan_of({"plan": asdict(TWO)}) == TWO


def test_a_batch_holds_the_scenes_and_their_boxes():
    batch = Scenes(list(TINY.steps()), seed=3)[2]
    for number in range(2):
        drawn = draw_one(scenes.draw, 3, "train", 4 + number, 64)
        np.testing.assert_array_equal(batch["img"][number], drawn.image)
        of_it = batch["batch_idx"] == number
        np.testing.assert_array_equal(batch["cls"][of_it][:, 0], drawn.classes)
        x, y, width, height = batch["bboxes"][of_it].numpy().T * 64
        corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
        np.testing.assert_allclose(corners, drawn.boxes, atol=1e-4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    checkpoint = pretrain.pretrain(TINY, folder, workers=0, every=1)
    return torch.load(checkpoint, weights_only=True), folder


def test_the_log_tells_each_stage(whole):
    lines = [json.loads(line) for line in (whole[1] / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"], line["size"]) for line in lines] == [
        (1, 2, 32), (2, 4, 32), (3, 6, 64), (4, 8, 64),
    ]  # fmt: skip
    assert all(np.isfinite(line["loss"]).all() for line in lines)


def test_weights_move_and_their_average_follows(whole):
    state = whole[0]
    fresh = Pretraining(TINY).network.state_dict()
    name = "model.0.conv.weight"
    assert not torch.equal(state["network"][name], fresh[name])
    assert not torch.equal(state["average"][name], state["network"][name])


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
    with pytest.raises(ClickException, match="another plan"):
        pretrain.pretrain(Plan(seed=1), whole[1], workers=0)


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
