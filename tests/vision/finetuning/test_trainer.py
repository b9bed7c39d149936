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
    tuner.averaged = []
    tuner.ema = SimpleNamespace(update=lambda model: tuner.averaged.append(model.weight.item()))
    tuner.recorder = SimpleNamespace(due=lambda number: False)
    tuner._report = lambda loss, updates: None
    return tuner.model


def test_a_step_moves_the_weights_and_clips_as_ultralytics_does(tuner):
    network = stepping(tuner, 1.0, gradient=1000.0)
    before = network.weight.item()
    tuner.optimizer_step()
    assert network.weight.item() == pytest.approx(before - 0.1 * module.LARGEST_NORM, rel=1e-4)
    assert tuner.step_number == 5
    assert tuner.averaged == [network.weight.item()], "averaged once, after the step"
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
    tuner.should_stop = lambda: False
    tuner.run_callbacks("on_train_batch_start")
    tuner.should_stop = lambda: True
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


class Network(torch.nn.Conv2d):
    """A layer that has what the trainer asks of a detector."""

    def init_criterion(self) -> SimpleNamespace:
        return SimpleNamespace(updates=0, update=lambda: None)


def resumable(tuner: FineTuner, seed: int) -> FineTuner:
    torch.manual_seed(seed)
    tuner.model = Network(3, 4, 3).to(memory_format=torch.channels_last)
    tuner.ema = module.ModelEMA(tuner.model)
    tuner.optimizer = torch.optim.AdamW(tuner.model.parameters(), lr=0.1)
    tuner.step_number = tuner.start_epoch = 0
    return tuner


def test_a_state_is_taken_up_whole(tuner):
    with torch.random.fork_rng(devices=[]):
        one = resumable(tuner, 1)
        one.model(torch.rand(2, 3, 5, 5)).sum().backward()
        one.optimizer.step()
        one.ema.update(one.model)
        one.step_number = 12
        other = resumable(object.__new__(FineTuner), 2)
    kept = one.state(3)
    # Read from a file, tensors lie in the plain order.
    for slots in kept["optimizer"]["state"].values():
        slots.update({name: value.contiguous() for name, value in slots.items()})
    other.resume_training(kept)

    assert (other.start_epoch, other.step_number) == (3, 12)
    assert other.ema.updates == one.ema.updates == 1
    assert other.model.criterion.updates == 2
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], tensor)
        assert torch.equal(other.ema.ema.state_dict()[name], one.ema.ema.state_dict()[name])
        assert not torch.equal(one.ema.ema.state_dict()[name], tensor), "else nothing is tested"
    mine, theirs = one.optimizer.state[one.model.weight], other.optimizer.state[other.model.weight]
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(mine[name], theirs[name])
        assert theirs[name].stride() == other.model.weight.stride()


@pytest.mark.parametrize("state", [None, {"epoch": 0}])
def test_before_the_first_epoch_there_is_nothing_to_take_up(tuner, state):
    resumable(tuner, 0).resume_training(state)
    assert tuner.start_epoch == 0


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_evaluated(tuner, bad):
    resumable(tuner, 0)
    tuner.images, tuner.step_number = None, 8
    tuner.evaluate = lambda: SimpleNamespace(map=0.25, map50=0.5)
    if bad is None:
        assert tuner.validate() == ({}, 0.25)
        return
    with torch.no_grad():
        tuner.ema.ema.weight[0, 0, 0, 0] = bad
    with pytest.raises(Diverged) as caught:
        tuner.validate()
    assert caught.value.step == 8


def test_the_network_is_handed_in_and_all_of_it_can_learn(tuner):
    tuner.spec = FineTune(precision="float32")
    tuner.network = Network(3, 4, 3).requires_grad_(False)
    tuner.to_resume = {"epoch": 3}
    assert tuner.setup_model() is tuner.to_resume
    assert tuner.model is tuner.network
    assert all(parameter.requires_grad for parameter in tuner.model.parameters())
    assert tuner.model.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_step_is_reported_with_its_epoch_from_one(tuner):
    reported, recorded = [], []
    tuner.step_number, tuner.epoch, tuner.epochs = 5, 1, 2
    tuner.train_loader = range(3)
    tuner.loss_items = {"box_loss": torch.tensor(1.5)}
    tuner.optimizer = SimpleNamespace(
        param_groups=[{"param_group": "weight", "params": [1], "lr": 0.125}]
    )
    tuner.recorder, tuner.on_step = SimpleNamespace(record=recorded.append), reported.append
    tuner._report(1.5, {"0": 0.1})
    assert reported == recorded
    assert reported == [(5, 2, 1.5, {"box": 1.5}, 0.125, {"0": 0.1}, 6, None)]
