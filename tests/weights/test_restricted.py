"""Restricted loading: what torch.load gives for data, and inert objects for networks."""

from __future__ import annotations

import io
import os
import pickle

import pytest
import torch
from torch import nn

from labkit.core.errors import FileError
from labkit.weights import restricted
from labkit.weights.restricted import ALLOWED, Inert
from tests.weights import goods, hostile


def load(data: bytes):
    return restricted.load(io.BytesIO(data), "net.pt")


def test_plain_data_is_what_torch_loads():
    value = {"a": [1, 2.5, None, True, "text"], "w": torch.arange(6).view(2, 3), "t": (1, {"x": 2})}
    data = goods.saved(value)
    expected = torch.load(io.BytesIO(data), weights_only=True)
    found = load(data)
    assert torch.equal(found.pop("w"), expected.pop("w"))
    assert found == expected


def test_a_network_becomes_inert_objects_with_its_state():
    network = nn.Linear(3, 2)
    made = load(goods.saved(network))
    assert isinstance(made, Inert)
    assert not isinstance(made, nn.Module)
    assert made.origin == "torch.nn.modules.linear.Linear"
    assert made.state["in_features"] == 3
    assert torch.equal(made.state["_parameters"]["weight"], network.weight)


def test_an_inert_object_does_nothing():
    made = Inert(1, 2)
    made.__setstate__({"a": 1})
    assert (made.arguments, made.state) == ((1, 2), {"a": 1})
    made.__setstate__(({"b": 2}, {"slot": 3}))
    assert made.state == {"b": 2}
    made.__setstate__("anything")
    assert made.state == {"b": 2}


def test_classes_that_ultralytics_has_registered_stay_so_and_are_not_reached():
    """torch's allow-list is one for the whole process; real classes may be on it already."""
    built = []

    class Watched(nn.Conv2d):
        def __setstate__(self, state):
            built.append(state)
            super().__setstate__(state)

    entries = [
        (nn.Conv2d, "torch.nn.modules.conv.Conv2d"),
        (Watched, "torch.nn.modules.batchnorm.BatchNorm2d"),
    ]
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(entries)
    try:
        load(goods.whole_module())
        assert built == []
        assert set(torch.serialization.get_safe_globals()) == {*before, *entries}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.modules.conv.Conv2d",
        "ultralytics.nn.tasks.DetectionModel",
        "ultralytics.utils.IterableSimpleNamespace",
        "models.yolo.Detect",
        "numpy.dtype",
        "pathlib.PosixPath",
        "types.SimpleNamespace",
    ],
)
def test_classes_of_networks_are_allowed_by_name(name):
    assert ALLOWED.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "torch.nn.modules.conv.os.system",
        "torch.nn.modules.module._global",
        "ultralytics.nn.tasks.torch_safe_load",
        "numpy.load",
        "xtorch.nn.modules.conv.Conv2d",
        "torch.nn.modules.conv.Conv2d\n",
    ],
)
def test_functions_and_other_modules_are_not(name):
    assert not ALLOWED.fullmatch(name)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"just some text", "is not a checkpoint, but a text file"),
        (bytes(range(1, 200)), "is not a checkpoint, but other data"),
        (pickle.dumps({"a": 1}), "is a bare pickle"),
        (pickle.dumps(hostile.Call(os.system, "true")), "it asks for posix.system"),
        (b"\x02\0\0\0\0\0\0\0{}", "looks like a .safetensors file"),
        (bytes(257) + b"\0ustar", "tar format of before 2018"),
        (hostile.zipped(hostile.pickled(hostile.Call(os.system, "true"))), "posix.system"),
    ],
)
def test_anything_else_is_refused_with_the_reason(data, reason):
    with pytest.raises(FileError, match=reason) as caught:
        load(data)
    assert str(caught.value).startswith("net.pt ")
    assert len(str(caught.value).splitlines()) == 1
