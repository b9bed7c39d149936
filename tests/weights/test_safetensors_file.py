"""safetensors: what the library itself writes and reads is what is read."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save

from labkit.core.errors import FileError
from labkit.weights import safetensors_file
from labkit.weights.save import FORMAT, KEY


def read(folder, data: bytes):
    path = folder / "net.safetensors"
    path.write_bytes(data)
    return safetensors_file.read(path)


@pytest.mark.parametrize(
    "dtype",
    [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "float8_e4m3fn",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    ],
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_tensors_are_those_of_the_library(tmp_path, dtype, shape):
    data = save({"w": (torch.rand(shape) * 4).to(getattr(torch, dtype))})
    tensors, metadata = read(tmp_path, data)
    expected = load_bytes(data)["w"]
    assert (tensors["w"].dtype, tensors["w"].shape) == (expected.dtype, expected.shape)
    assert torch.equal(tensors["w"].double(), expected.double())
    assert metadata == {}


def test_without_an_order_names_come_by_depth(tmp_path):
    data = save({f"m.{i}.w": torch.ones(1) for i in (10, 2, 1)}, {"by": "hand"})
    tensors, metadata = read(tmp_path, data)
    assert list(tensors) == ["m.1.w", "m.2.w", "m.10.w"]
    assert metadata == {"by": "hand"}


def test_labkit_keeps_order_and_metadata(tmp_path):
    facts = {"format": FORMAT, "order": ["b", "a"], "task": "detect"}
    data = save({"a": torch.ones(1), "b": torch.zeros(1)}, {KEY: json.dumps(facts)})
    tensors, metadata = read(tmp_path, data)
    assert list(tensors) == ["b", "a"]
    assert metadata == {"task": "detect"}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ("no json", "what labkit wrote into it cannot be read"),
        ("[]", "what labkit wrote into it cannot be read"),
        (json.dumps({"format": "labkit.weights/99"}), "what labkit wrote into it cannot be read"),
        (json.dumps({"format": FORMAT, "order": ["b"]}), "its list of tensors is not that"),
    ],
)
def test_metadata_of_labkit_that_is_damaged(tmp_path, facts, reason):
    with pytest.raises(FileError, match=reason):
        read(tmp_path, save({"a": torch.ones(1)}, {KEY: facts}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin with a header"),
        (b"1234567{", "does not begin with a header"),
        ((10**6).to_bytes(8, "little") + b"{}", "is cut short"),
        ((2).to_bytes(8, "little") + b"{]", "is not a sound safetensors file"),
        (save({"a": torch.ones(4)})[:-1], "is not a sound safetensors file"),
    ],
)
def test_damaged_files(tmp_path, data, reason):
    with pytest.raises(FileError, match=reason):
        read(tmp_path, data)


def test_a_header_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_file, "HEADER", 50)
    with pytest.raises(FileError, match="labkit reads up to 50"):
        read(tmp_path, save({"a": torch.ones(1)}))
