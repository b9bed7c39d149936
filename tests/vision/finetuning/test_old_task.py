"""Forgetting: before the first step it is the old detector's own mAP."""

import pytest
import torch

from labkit.core.errors import LabError
from labkit.vision.data import open_data
from labkit.vision.detector import open_detector
from labkit.vision.evaluation import evaluate
from labkit.vision.finetuning.old_task import OldTask
from labkit.vision.finetuning.transfer import build, class_rows
from tests.vision import networks
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def old():
    """A detector that reports boxes, its classes square, disc, bar."""
    return networks.detector()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return networks.data_set(tmp_path_factory.mktemp("old"), val=6)


def test_before_the_first_step_nothing_is_forgotten(old, data):
    network, _ = build(old, {0: "cross", 1: "disc"})
    before = evaluate(old, data, imgsz=64).map50
    assert before > 0
    assert OldTask(old, data, 64).map50(network) == pytest.approx(before)


def test_everything_but_the_class_rows_is_the_new_network(old, data):
    network, _ = build(old, {0: "cross"})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    old_task = OldTask(old, data, 64)
    old_task.map50(network)
    rows, new, own = set(class_rows(network)), network.state_dict(), old.model.state_dict()
    for name, tensor in old_task._network.state_dict().items():
        assert torch.equal(tensor, own[name] if name in rows else new[name]), name


def test_other_data_than_the_old_is_refused(old, tmp_path):
    other = open_data(tiny.data(tmp_path / "other"))
    with pytest.raises(LabError, match="does not fit"):
        OldTask(old, other, 64)


def test_another_architecture_is_refused(old, data, tmp_path):
    small = open_detector(tiny.weights(tmp_path / "small.safetensors"))
    network, _ = build(small, {0: "cross"})
    with pytest.raises(LabError, match="put back"):
        OldTask(old, data, 64).map50(network)
