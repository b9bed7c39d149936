"""Weights: counts, order and digest of named tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from labkit.weights.file import Weights, buffers_among, digest, in_depth_order


def weights(**more) -> Weights:
    tensors = {"w": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.int8)}
    return Weights(tensors, "state dict", sha256="", size=28, **more)


def test_values_and_bytes_are_counted():
    assert (weights().count, weights().nbytes) == (6 + 4, 6 * 4 + 4)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "<Weights: weights, 10 values in 2 tensors, state dict>"),
        (
            {"architecture": "yolo26n", "task": "detect", "path": Path("a.pt")},
            "<Weights: yolo26n detect, 10 values in 2 tensors, a.pt>",
        ),
    ],
)
def test_the_repr_names_network_and_source(more, text):
    assert repr(weights(**more)) == text


def test_names_are_in_order_of_depth():
    names = ["m.10.w", "m.9.w", "a", "m.w", "10.w", "9.b", "m.9.b.2", ""]
    assert in_depth_order(names) == ["", "9.b", "10.w", "a", "m.9.b.2", "m.9.w", "m.10.w", "m.w"]


def test_buffers_are_known_by_name():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    assert buffers_among(network.state_dict()) == {name for name, _ in network.named_buffers()}


def test_the_digest_is_sha256_of_name_dtype_shape_and_values():
    text = b"w|torch.float32|(2,)|" + torch.tensor([1.0, 2.0]).numpy().tobytes()
    assert digest({"w": torch.tensor([1.0, 2.0])}) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.bool])
def test_the_digest_depends_on_nothing_but_what_is_held(dtype):
    values = torch.tensor([[1, 0], [0, 0]]).to(dtype)
    same = {"a": values, "b": values.t()}
    assert digest(same) == digest({"b": values.t().contiguous(), "a": values.clone()})
    for changed in (
        {"a": values, "c": values.t()},
        {"a": values.reshape(4), "b": values.t()},
        {"a": values.to(torch.float64), "b": values.t()},
        {"a": values.flip(0), "b": values.t()},
    ):
        assert digest(changed) != digest(same)
