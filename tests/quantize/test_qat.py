"""The network of a quantization-aware run."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch

from labkit.core.errors import FileError
from labkit.quantize import qat_detector
from labkit.vision.data import open_data
from labkit.vision.evaluation import evaluate
from labkit.vision.finetuning import checkpoint, finetune
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("qat")
    made = tiny.measured(folder / "old.safetensors"), tiny.data(folder / "data")
    return finetune(tiny.spec(*made, qat=8), folder=folder / "run")


@pytest.fixture(scope="module")
def network(run):
    return qat_detector(run)


def test_it_is_the_network_that_was_evaluated(run, network):
    found = evaluate(network, open_data(run.spec.data), imgsz=run.spec.image_size)
    best = run.best_epoch
    assert (found.map, found.map50) == (best.map, best.map50)


def test_weights_are_rounded_as_torch_rounds_them(network):
    conv = network.model.model[0].conv
    scale = conv.weight_quantizer.amax.flatten() / 127
    rounded = torch.fake_quantize_per_channel_affine(
        conv.weight, scale, torch.zeros(len(scale), dtype=torch.int32), 0, -128, 127
    )
    torch.testing.assert_close(conv.weight_quantizer(conv.weight), rounded)
    assert rounded.unique().numel() < conv.weight.unique().numel()


def test_an_ordinary_run_has_no_ranges(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    facts = checkpoint.read_run(folder)
    facts["spec"]["qat"] = 0
    checkpoint.write_run(folder, facts)
    with pytest.raises(FileError, match="trained without quantization: fine-tune with qat=8"):
        qat_detector(dataclasses.replace(run, folder=folder))
