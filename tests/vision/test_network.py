from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from labkit.core.errors import LabError
from labkit.vision import open_detector
from labkit.vision.network import architecture, build, build_random
from labkit.weights.load import load
from tests.vision.networks import _fresh

ARCHITECTURES = [
    ("yolo26n", 3, "detect"),
    ("yolo11n", 3, "detect"),
    ("yolov8n", 80, "detect"),
    ("yolo26n-seg", 80, "segment"),
    ("yolo26n-cls", 1000, "classify"),
    ("yolov8n-pose", 1, "pose"),
    ("yolo26n-obb", 80, "obb"),
]


@pytest.mark.parametrize(("name", "classes", "task"), ARCHITECTURES)
def test_it_is_the_network_that_the_weights_are_of(name, classes, task):
    original = _fresh(name, classes, 0)
    rebuilt = build(load(original))
    assert type(rebuilt) is type(original)
    assert rebuilt.task == task
    assert not rebuilt.training
    own, wanted = rebuilt.state_dict(), original.state_dict()
    assert list(own) == list(wanted)
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mine, theirs = (network(image)[0] for network in (rebuilt, original))
    torch.testing.assert_close(mine, theirs)


def test_half_precision_on_disk_is_computed_with_in_full():
    weights = load(_fresh("yolo26n", 3, 0))
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in weights.tensors.items()
    }
    network = build(replace(weights, tensors=halves))
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == weights.tensors[name].dtype
        assert torch.equal(tensor, halves[name].to(tensor.dtype))


def test_a_name_is_enough_where_there_is_no_description():
    weights = replace(load(_fresh("yolo26n", 3, 0)), yaml=None, architecture="yolo26n")
    assert architecture(weights)["nc"] == 3
    assert torch.equal(
        build(weights).state_dict()["model.0.conv.weight"], weights.tensors["model.0.conv.weight"]
    )


def test_random_weights_are_repeatable_and_nobody_elses_random_numbers(global_rng_untouched):
    weights = load(_fresh("yolo26n", 3, 0))
    key = "model.0.conv.weight"
    first, again, other = (build_random(weights, seed).state_dict()[key] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, weights.tensors[key])
    build(weights)


def spoilt(**changes):
    weights = load(_fresh("yolo26n", 3, 0))
    described = deepcopy(weights.yaml)
    row = changes.pop("row", None)
    if row:
        described["backbone"][0] = row
    return replace(weights, yaml=described | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation": "__import__('os').system('true')"}, "activation"),
        ({"row": [-1, 1, "check_requirements", ["evil"]]}, "check_requirements"),
        ({"row": [-1, 1, "torchvision.ops.misc.MLP", [3, [3]]]}, "not one of Ultralytics' layers"),
        ({"row": [-1, 1, "nn.Module", []]}, "not one of Ultralytics' layers"),
        ({"row": [-1, 1000, "Conv", [64, 3, 2]]}, "repeated"),
        ({"row": [-1, 1, "Conv", [10**12, 3, 2]]}, "largest number"),
        ({"backbone": "rows"}, "not a list of layers"),
    ],
)
def test_a_description_that_is_more_than_layers_is_refused(changes, said):
    with pytest.raises(LabError, match="is refused") as refused:
        build(spoilt(**changes))
    assert said in str(refused.value)


def test_a_description_of_more_than_the_file_holds_takes_no_memory():
    """2 x 100,000 x 100,000 x 9 weights: 720 GB, were they made."""
    huge = spoilt(
        row=[-1, 1, "nn.Conv2d", [3, 100_000, 3, 2]],
    )
    huge.yaml["backbone"][1] = [-1, 1, "nn.Conv2d", [100_000, 100_000, 3, 2]]
    with pytest.raises(LabError, match=r"do not fit|cannot be built"):
        build(huge)


def test_tensors_that_do_not_fit_are_named():
    weights = load(_fresh("yolo26n", 3, 0))
    fewer = {k: v for k, v in weights.tensors.items() if k != "model.1.bn.running_mean"}
    with pytest.raises(LabError, match=r"model.1.bn.running_mean is missing"):
        build(replace(weights, tensors=fewer))
    wrong = dict(weights.tensors) | {"model.0.conv.weight": torch.zeros(8, 3, 3, 3)}
    with pytest.raises(LabError, match=r"model.0.conv.weight has shape \(8, 3, 3, 3\) instead"):
        build(replace(weights, tensors=wrong))
    more = dict(weights.tensors) | {"extra": torch.zeros(1)}
    with pytest.raises(LabError, match="extra is not part of it"):
        build(replace(weights, tensors=more))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"yaml": None, "architecture": None}, "does not say of which network"),
        ({"yaml": None, "architecture": "yolo99n"}, "which this Ultralytics does not have"),
        ({"yaml": None, "architecture": "../yolo26n"}, "which this Ultralytics does not have"),
        ({"yaml": None, "architecture": "http://x.y/z"}, "which this Ultralytics does not have"),
        ({"task": "depth"}, "labkit runs detect"),
        ({"yaml": None, "yaml_problem": "layer 3 is 'eval'"}, "layer 3 is 'eval'"),
    ],
)
def test_weights_that_make_no_network_say_why(changes, said):
    with pytest.raises(LabError) as refused:
        build(replace(load(_fresh("yolo26n", 3, 0)), **changes))
    assert said in str(refused.value)


def test_what_it_was_made_from_is_not_shared():
    one = open_detector(load(_fresh("yolo26n", 3, 0)))
    with torch.no_grad():
        one.tensors["model.0.conv.weight"].zero_()
    assert one.weights.tensors["model.0.conv.weight"].abs().sum() > 0
