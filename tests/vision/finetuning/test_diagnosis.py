"""Findings about fine-tuning: what a run that gets worse, or gives up, is told."""

from __future__ import annotations

import math

import pytest
import torch

from labkit.vision.finetuning import FineTune, diagnosis, finetune, open_run
from labkit.vision.finetuning.diagnosis import lr_too_high
from labkit.vision.finetuning.records import EpochRecord
from labkit.weights import load, save
from tests.vision.finetuning import tiny


def epoch(number: int, loss: float, map50: float) -> EpochRecord:
    return EpochRecord(number, number * 8, loss, {}, map50, map50 / 2, 0, 0, 0.1, 1.0, False)


START = epoch(0, math.nan, 0.4)


@pytest.mark.parametrize(
    ("loss", "map50", "said"),
    [
        (6.0, 0.5, False),  # better
        (6.0, 0.0, False),  # new classes: the loss falls, the precision has yet to come
        (9.0, 0.3, False),  # a harder batch, mosaics
        (9.0, 0.1, True),  # more loss and less precision
        (20.0, 0.5, True),  # a loss that no batch explains
    ],
)
def test_getting_worse_is_told(loss, map50, said):
    found = lr_too_high(FineTune(lr=0.5), 8.0, [START, epoch(1, loss, map50)])
    assert (found is not None) == said
    if found:
        assert found.kind == "lr_too_high"
        assert found.changes == {"lr": 2e-3}
        assert f"epoch 1 has {loss:.3g}" in found.message


def test_only_the_latest_epoch_counts():
    spec = FineTune(lr=0.5)
    assert lr_too_high(spec, 8.0, [START]) is None
    assert lr_too_high(spec, 8.0, [START, epoch(1, 30, 0), epoch(2, 4, 0.3)]) is None


@pytest.mark.parametrize(
    ("optimizer", "lr", "lower"),
    [("adamw", 1.0, 2e-3), ("sgd", 1.0, 1e-2), ("adam", 1e-3, 1e-4), ("adam", 2e-6, 1e-6)],
)
def test_the_remedy_is_usual_or_a_tenth(optimizer, lr, lower):
    spec = FineTune(optimizer=optimizer, lr=lr)
    found = lr_too_high(spec, 1.0, [START, epoch(1, 30, 0)])
    assert found.changes["lr"] == pytest.approx(lower)
    spec.replace(**found.changes)


@pytest.fixture(scope="module")
def silenced(tmp_path_factory):
    """Weights whose scores are zero for everything, and data with labels."""
    folder = tmp_path_factory.mktemp("silenced")
    whole = load(tiny.weights(folder / "old.safetensors", names=tiny.NEW))
    tensors = {name: tensor.clone() for name, tensor in whole.tensors.items()}
    heads = [n for n in tensors if "cv3." in n and n.endswith(".2.bias")]
    assert len(heads) == 6  # three sizes, for both heads
    for name in heads:
        tensors[name] = torch.full_like(tensors[name], -300.0)
    path = save(
        folder / "silent.safetensors", tensors,
        architecture=whole.architecture, yaml=whole.yaml, task=whole.task, names=whole.names,
    )  # fmt: skip
    return path, tiny.data(folder / "data", train=32)


def test_a_detector_that_finds_nothing_anywhere_ends_the_run(silenced, tmp_path):
    out = finetune(tiny.spec(*silenced, epochs=5, lr=0.004), folder=tmp_path / "run")
    assert out.finding.kind == "collapsed"
    assert out.finding.evidence["step"] == 5
    assert out.finding.changes == {"lr": pytest.approx(0.0004)}
    assert not out.finished
    assert [record.epoch for record in out.epochs] == [0]
    assert open_run(tmp_path / "run").finding == out.finding


def test_nothing_is_said_of_images_without_labels(silenced, tmp_path):
    start, _ = silenced
    data = tiny.data(tmp_path / "data", train=32)
    for labels in sorted((data.parent / "labels" / "train").glob("*.txt"))[1:]:
        labels.write_text("")
    spec = tiny.spec(start, data, epochs=1)
    assert finetune(spec, folder=tmp_path / "run").finding is None


def test_a_run_that_got_worse_is_told_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "RISEN", 0.0)  # any loss is too much
    start, losses = tiny.weights(tmp_path / "old.safetensors"), []
    out = finetune(
        tiny.spec(start, tiny.data(tmp_path / "data"), epochs=2),
        folder=tmp_path / "run",
        on_step=lambda record: losses.append(record.loss),
    )
    assert out.finding.kind == "lr_too_high"
    assert out.finding.evidence["first_loss"] == pytest.approx(losses[0])
    assert out.finding.evidence["loss"] == out.epochs[-1].loss
    assert out.finished
    assert open_run(tmp_path / "run").finding == out.finding
