"""Checkpoints: the network is found where training programs keep it, with torch as oracle."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from labkit.core.errors import FileError
from labkit.weights import checkpoint
from tests.weights import goods


def read(value):
    return checkpoint.read(io.BytesIO(goods.saved(value)), "net.pt")


def assert_same(tensors, expected):
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("place", checkpoint.PLACES)
@pytest.mark.parametrize("whole", [False, True])
def test_the_network_is_found_in_every_place(place, whole):
    network = goods.network()
    tensors, metadata = read({place: network if whole else network.state_dict(), "epoch": 3})
    assert_same(tensors, network.state_dict())
    assert metadata["epoch"] == 3
    assert place not in metadata


def test_of_two_networks_the_average_is_read():
    average, last = goods.network(), goods.network()
    tensors, _ = read({"model": last, "ema": average, "optimizer": {"lr": 0.1}})
    assert_same(tensors, average.state_dict())


def test_names_and_buffers_are_those_of_a_state_dict():
    network = nn.Sequential(goods.network(), nn.ModuleDict({"head": nn.Linear(2, 2, bias=False)}))
    network.register_buffer("kept", torch.ones(2))
    network.register_buffer("transient", torch.ones(2), persistent=False)
    tensors, metadata = read(network)
    assert_same(tensors, network.state_dict())
    assert metadata["buffers"] == [n for n, _ in network.named_buffers() if n != "transient"]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.25), 0.25),
        (np.int64(-3), -3),
        (np.bool_(True), True),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.ones(17), None),
        (SimpleNamespace(lr=0.1), {"lr": 0.1}),
        (float("nan"), "nan"),
    ],
)
def test_values_beside_the_network_become_json(value, plain):
    _, metadata = read({"state_dict": goods.network().state_dict(), "value": value})
    assert metadata["value"] == plain


@pytest.mark.parametrize("value", [{"epoch": 3}, [torch.ones(2)], nn.Identity(), "text"])
def test_without_named_tensors_there_is_no_network(value):
    with pytest.raises(FileError, match=r"net\.pt holds no network"):
        read(value)


def test_views_that_unfold_to_many_times_the_file_are_refused():
    shared = torch.ones(1000)
    with pytest.raises(FileError, match="many times its own size"):
        read({"w": shared.expand(100, 1000)})


def test_modules_nested_too_deeply_are_refused():
    network = nn.Sequential(nn.Linear(1, 1))
    for _ in range(checkpoint.NESTING + 1):
        network = nn.Sequential(network)
    with pytest.raises(FileError, match="nested"):
        read(network)
