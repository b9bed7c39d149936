"""Quantization-aware runs: they compute with rounded weights, and stay fine-tuning runs."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from labkit.core.errors import LabError, RecipeError
from labkit.vision.detector import open_detector
from labkit.vision.finetuning import FineTune, checkpoint, finetune, resume
from labkit.weights.load import load
from tests.vision.finetuning import tiny

BITS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Weights and data."""
    folder = tmp_path_factory.mktemp("made")
    return tiny.measured(folder / "old.safetensors"), tiny.data(folder / "data")


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """A run that nobody disturbed, and its steps."""
    steps = []
    folder = tmp_path_factory.mktemp("whole") / "run"
    return finetune(tiny.spec(*made, qat=BITS), folder=folder, on_step=steps.append), steps


def ranges(folder):
    state = checkpoint.read_state(folder)["network"]
    return {name: tensor for name, tensor in state.items() if name.endswith("_amax")}


def test_every_step_rounds_and_the_weights_stay_float(whole):
    run, steps = whole
    assert [record.grid is not None for record in steps] == [step.step % 2 == 0 for step in steps]
    assert f"rounded to {BITS} bits" in run.used.notes[-1]
    layer = steps[1].grid.layer
    weight = open_detector(run.last).tensors[f"{layer}.weight"]
    assert weight.unique().numel() > weight.numel() // 2, "on a grid it were a few"


def test_ranges_are_those_of_the_first_weights(whole):
    run, _ = whole
    first, found = load(run.folder / checkpoint.FIRST).tensors, ranges(run.folder)
    weights = [name for name in found if ".weight_quantizer." in name]
    assert len(weights) > 90
    for name in weights:
        tensor = first[name.replace("_quantizer._amax", "")]
        largest = tensor.float().abs().flatten(1).amax(1)
        torch.testing.assert_close(found[name].flatten(), largest)


def test_where_the_weights_are_on_the_grid(whole):
    run, steps = whole
    told = steps[-1].grid
    assert told.bits == BITS
    name = f"{told.layer}.weight"
    first = load(run.folder / checkpoint.FIRST).tensors[name].double().numpy()
    last = checkpoint.read_state(run.folder)["network"][name].double().numpy()
    largest = np.abs(first).reshape(len(first), -1).max(1).reshape(-1, 1, 1, 1)
    here, there = (7 * values / largest for values in (last, first))
    assert told.moved == pytest.approx((np.rint(here) != np.rint(there)).mean(), abs=1e-3)
    inside = (here >= -8) & (here <= 7)
    distance = np.abs(here - np.rint(here))[inside].mean()
    assert told.distance == pytest.approx(distance, abs=1e-3)
    edges = np.linspace(-8.5, 7.5, len(told.counts) + 1)
    counts, _ = np.histogram(here.clip(-8, 7), edges)
    assert told.counts.sum() == last.size
    assert np.abs(told.counts - counts).sum() < 1e-3 * last.size  # at an edge, the last digit


def test_what_it_leaves_is_an_ordinary_detector(whole):
    run, _ = whole
    assert not any("quantizer" in name for name in load(run.best).tensors)
    assert not any("Quant" in type(m).__name__ for m in open_detector(run.best).model.modules())


def test_a_stopped_run_goes_on_as_if_it_had_not_been(made, whole, tmp_path):
    class AfterTheFirstEpoch:
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 4

    folder = tmp_path / "run"
    stopped = finetune(tiny.spec(*made, qat=BITS), folder=folder, stop=AfterTheFirstEpoch())
    assert stopped.stopped
    steps = []
    gone_on = resume(folder, on_step=steps.append)
    run, all_steps = whole
    mine, theirs = load(gone_on.last).tensors, load(run.last).tensors
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert steps[-1].grid.moved == all_steps[-1].grid.moved, "counted from the first step of all"
    assert ranges(folder).keys() == ranges(run.folder).keys()


def test_it_says_nothing_and_patches_nothing(made, tmp_path, capfd):
    before = dict(vars(nn.Conv2d)), nn.functional.conv2d
    finetune(tiny.spec(*made, qat=8, epochs=1), folder=tmp_path / "run")
    assert (dict(vars(nn.Conv2d)), nn.functional.conv2d) == before
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_weights_that_were_never_trained_are_refused(made, tmp_path):
    untrained = tiny.weights(tmp_path / "new.safetensors")
    with pytest.raises(LabError, match=r"nothing reaches model\.\d+.*Fine-tune with qat=0 first"):
        finetune(tiny.spec(untrained, made[1], qat=8), folder=tmp_path / "run")


@pytest.mark.parametrize("bits", [1, 9, -1])
def test_there_are_grids_of_two_to_eight_bits(bits):
    with pytest.raises(RecipeError, match=re.escape(f"qat={bits}")):
        FineTune(qat=bits)
