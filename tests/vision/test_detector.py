from __future__ import annotations

import pytest
import torch

from labkit.core.errors import LabError
from labkit.core.table import Table
from labkit.vision import Detector, open_detector, random_like
from labkit.vision.detector import one_head
from labkit.weights.load import load
from labkit.weights.save import save
from tests.vision.networks import NAMES, _fresh, detector


def test_a_saved_file_opens_as_what_it_was(tmp_path):
    one = detector()
    path = save(
        tmp_path / "mine.safetensors",
        dict(one.weights.tensors),
        architecture="yolo26n",
        yaml=one.weights.yaml,
        task="detect",
        names=one.names,
        train_args={"imgsz": 96},
    )
    again = open_detector(path)
    assert (again.name, again.task, again.imgsz) == ("mine.safetensors", "detect", 96)
    assert again.names == dict(enumerate(NAMES))
    assert all(torch.equal(again.tensors[k], t) for k, t in one.tensors.items())
    facts = again.facts(64)
    assert facts["on disk"] == f"{path.stat().st_size / 1e6:.2f} MB"
    assert facts["SHA-256"] == again.weights.sha256


def test_info_counts_what_torch_counts():
    one = detector(classes=80)
    facts = one.facts(640)
    network = _fresh("yolo26n", 80, 0)
    assert facts["parameters"].startswith(f"{sum(p.numel() for p in network.parameters()):,} ")
    assert facts["buffers"].startswith(f"{sum(b.numel() for b in network.buffers()):,} ")
    assert isinstance(one.info(64), Table)


def test_operations_are_two_for_each_multiplication():
    """Against a count by hand: every convolution that runs, output numbers x kernel x 2."""
    one = detector()
    view, counted = one_head(one.model), []

    def count(layer, _inputs, output):
        counted.append(2 * output.numel() * layer.weight[0].numel())

    hooks = [
        module.register_forward_hook(count)
        for module in view.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        view(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    operations = one.operations(64)
    assert operations >= sum(counted)  # attention multiplies matrices besides
    assert operations == pytest.approx(sum(counted), rel=0.05)


@pytest.mark.parametrize("architecture", ["yolo26n", "yolov8n"])
def test_the_head_that_is_not_asked_changes_nothing(architecture):
    one = detector(architecture)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for nms in (True, False):
        one.model.end2end = not nms and architecture == "yolo26n"
        with torch.no_grad():
            wanted = one.model(image)[0]
            torch.testing.assert_close(one_head(one.model, nms)(image)[0], wanted)
    one.model.end2end = False


def test_the_view_of_one_head_shares_tensors_and_leaves_the_network_whole():
    one = detector()
    names = list(one.tensors)
    view = one_head(one.model)
    assert list(one.tensors) == names
    own = view.state_dict()
    assert len(own) < len(names)
    assert all(own[name].data_ptr() == one.tensors[name].data_ptr() for name in own)


def test_put_changes_the_tensors_that_it_names():
    one = detector()
    before = {name: tensor.clone() for name, tensor in one.tensors.items()}
    one.put({"model.0.conv.weight": torch.zeros_like(before["model.0.conv.weight"])})
    assert not one.tensors["model.0.conv.weight"].any()
    one.put(before)
    assert all(torch.equal(one.tensors[name], tensor) for name, tensor in before.items())


def test_random_weights_of_the_same_architecture():
    one = detector()
    other = random_like(one, seed=5)
    assert isinstance(other, Detector)
    assert (other.names, other.task, other.imgsz) == (one.names, one.task, one.imgsz)
    assert {k: v.shape for k, v in other.tensors.items()} == {
        k: v.shape for k, v in one.tensors.items()
    }
    assert not torch.equal(other.tensors["model.0.conv.weight"], one.tensors["model.0.conv.weight"])
    assert torch.equal(
        other.weights.tensors["model.0.conv.weight"], other.tensors["model.0.conv.weight"]
    )


def test_what_is_no_detector_says_so():
    with pytest.raises(LabError, match="does not say of which network"):
        open_detector({"layer1.weight": torch.zeros(3, 2)})
    assert open_detector(load(_fresh("yolo26n", 3, 0))).imgsz == 640
