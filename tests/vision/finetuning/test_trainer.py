"""The trainer's parts, without a run: whole runs are in test_run.py."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labkit.core.ultralytics import ultralytics
from labkit.vision.finetuning import FineTune

ultralytics()

from labkit.vision.finetuning import trainer as module  # noqa: E402
from labkit.vision.finetuning.trainer import (  # noqa: E402
    PATIENCE,
    Collapsed,
    Diverged,
    FineTuner,
    Stopped,
    parts,
)


@pytest.fixture
def tuner() -> FineTuner:
    """A trainer whose construction is left out: each test gives what its method reads."""
    made = object.__new__(FineTuner)
    made.spec, made.device = FineTune(seed=3), torch.device("cpu")
    return made


def test_parts_go_by_short_names_as_plain_numbers():
    found = parts({"box_loss": torch.tensor(1.5), "cls_loss": torch.tensor(0.25), "l1": 2})
    assert found == {"box": 1.5, "cls": 0.25, "l1": 2.0}
    assert {type(value) for value in found.values()} == {float}


def test_images_become_shares_of_255_and_the_rest_stays(tuner):
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    batch = {"img": pixels, "cls": torch.zeros(1, 1), "im_file": ["a", "b"]}
    got = tuner.preprocess_batch(batch)
    torch.testing.assert_close(got["img"], pixels.float() / 255, rtol=0, atol=0)
    assert got["img"].is_contiguous(memory_format=torch.channels_last)
    assert got["im_file"] == ["a", "b"]
    assert tuner.labelled
    tuner.preprocess_batch({"img": pixels, "cls": torch.zeros(0, 1)})
    assert not tuner.labelled


@pytest.mark.parametrize("names", [("weight", "bn", "bias"), ("muon", "weight"), ("muon",)])
def test_the_weights_group_is_the_last_that_has_any(tuner, names):
    groups = [{"param_group": name, "params": [1], "lr": i} for i, name in enumerate(names)]
    empty = {"param_group": "weight", "params": [], "lr": 9}
    tuner.optimizer = SimpleNamespace(param_groups=[*groups, empty])
    wanted = max(i for i, name in enumerate(names) if name in ("weight", "muon"))
    assert tuner.rate == wanted


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "RMSProp"])
def test_an_optimizer_updates_all_tensors_in_one_call(tuner, optimizer):
    tuner.args = SimpleNamespace(warmup_bias_lr=0.0)
    tuner.data = {"nc": 2}
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    made = tuner.build_optimizer(network, optimizer, 0.01, 0.9, 0.0005, 100)
    key = "foreach" if optimizer == "RMSProp" else "fused"
    assert all(group[key] for group in made.param_groups)


def stepping(tuner: FineTuner, loss: float, gradient: float = 1.0) -> torch.nn.Linear:
    """A network of one number that is about to be updated."""
    tuner.model = torch.nn.Linear(1, 1, bias=False)
    tuner.model.weight.grad = torch.full((1, 1), gradient)
    tuner.optimizer = torch.optim.SGD(tuner.model.parameters(), lr=0.1)
    tuner.loss_items = {"box_loss": torch.tensor(loss), "cls_loss": torch.tensor(0.0)}
    tuner.images, tuner.labelled, tuner.step_number, tuner.unmatched = None, True, 4, 0
    tuner.ema = SimpleNamespace(update=lambda model: None)
    tuner.recorder = SimpleNamespace(due=lambda number: False)
    tuner._tell = lambda loss, updates: None
    return tuner.model


def test_a_step_moves_the_weights_and_clips_as_ultralytics_does(tuner):
    network = stepping(tuner, 1.0, gradient=1000.0)
    before = network.weight.item()
    tuner.optimizer_step()
    assert network.weight.item() == pytest.approx(before - 0.1 * module.LARGEST_NORM, rel=1e-4)
    assert tuner.step_number == 5
    assert network.weight.grad is None


@pytest.mark.parametrize(
    ("loss", "gradient"),
    [(float("nan"), 1.0), (float("inf"), 1.0), (1.0, float("nan")), (1.0, float("inf"))],
)
def test_a_step_that_is_no_number_is_not_made(tuner, loss, gradient):
    network = stepping(tuner, loss, gradient)
    before = network.weight.clone()
    with pytest.raises(Diverged) as caught:
        tuner.optimizer_step()
    assert caught.value.step == 5
    assert not np.isfinite(caught.value.loss)
    assert torch.equal(network.weight, before)
    assert tuner.step_number == 4


def test_a_detector_that_finds_nothing_is_ended_after_some_patience(tuner):
    tuner.labelled, tuner.unmatched = True, 0
    tuner.loss_items = {"box_loss": torch.tensor(0.0), "cls_loss": torch.tensor(0.01)}
    for number in range(1, PATIENCE):
        tuner._refuse_collapse(number, 0.01)
    tuner.labelled = False  # a batch without labels matches nothing and says nothing
    tuner._refuse_collapse(PATIENCE, 0.01)
    assert tuner.unmatched == 0
    tuner.labelled = True
    for number in range(10, 10 + PATIENCE - 1):
        tuner._refuse_collapse(number, 0.01)
    with pytest.raises(Collapsed) as caught:
        tuner._refuse_collapse(20, 0.01)
    assert caught.value.step == 20


def test_stop_is_heard_before_a_batch(tuner):
    tuner.stop_asked = lambda: False
    tuner.run_callbacks("on_train_batch_start")
    tuner.stop_asked = lambda: True
    with pytest.raises(Stopped):
        tuner.run_callbacks("on_train_batch_start")
    tuner.run_callbacks("on_val_start")  # of others nothing happens


def test_every_epoch_draws_from_a_seed_of_its_own(tuner):
    tuner.train_loader = SimpleNamespace(
        generator=torch.Generator(), num_workers=0, reset=lambda: None
    )

    def draws(epoch: int) -> tuple[float, ...]:
        tuner.epoch = epoch
        tuner._seed_epoch()
        own = torch.rand(1, generator=tuner.train_loader.generator).item()
        return random.random(), np.random.rand(), torch.rand(1).item(), own  # noqa: NPY002

    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        first, second = draws(1), draws(2)
        assert draws(1) == first
        assert not set(first) & set(second)
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])


def test_nothing_that_ultralytics_would_write_is_written(tuner):
    assert tuner.save_model() is False
    assert tuner.save_metrics({}) is None
    assert tuner.final_eval() is None
    assert tuner._handle_nan_recovery(1) is False
