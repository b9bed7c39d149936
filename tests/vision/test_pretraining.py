"""The plan's arithmetic, the scenes of a step, and the step itself."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from labkit.core.errors import LabError
from labkit.vision.pretraining import Cycle, Plan, Pretraining, Scenes, Stage, plan_of
from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import draw_one

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


def test_a_step_moves_the_weights_and_their_average_follows():
    training = Pretraining(TINY)
    name = "model.0.conv.weight"
    fresh = training.network.state_dict()[name].clone()
    steps = list(TINY.steps())
    for number in range(2):  # the first step's learning rate is zero
        parts = training.train_on(Scenes(steps, TINY.seed)[number], steps[number])
        assert np.isfinite(parts).all()
    state = training.state()
    assert state["step"] == 2
    assert not torch.equal(state["network"][name], fresh)
    assert not torch.equal(state["average"][name], state["network"][name])


def test_a_restored_training_is_the_same(tmp_path):
    training = Pretraining(TINY)
    other = Pretraining(TINY)
    steps = list(TINY.steps())
    training.train_on(Scenes(steps, TINY.seed)[0], steps[0])
    other.restore(training.state())
    assert other.step == 1
    for name, tensor in training.state()["network"].items():
        assert torch.equal(other.network.state_dict()[name], tensor), name
    with pytest.raises(LabError, match="another plan"):
        other.restore(Pretraining(replace(TINY, seed=1)).state())
