"""The freeze proof, and which layers can be frozen."""

import hashlib

import pytest
import torch

from labkit.core.errors import LabError
from labkit.vision.finetuning.freezing import (
    FreezeProof,
    check_layers,
    fingerprints,
    frozen_tensors,
)


def test_a_fingerprint_is_of_the_bytes_in_row_major_order():
    tensor = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    expected = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    shuffled = tensor.contiguous(memory_format=torch.channels_last)
    found = fingerprints({"plain": tensor, "channels last": shuffled, "count": torch.tensor(3)})
    assert found["plain"] == found["channels last"] == expected
    moved = tensor.clone()
    moved[0, 0, 0, 0] += 1e-6
    assert (
        fingerprints({"moved": moved})["moved"]
        == hashlib.sha256(moved.numpy().tobytes()).hexdigest()
    )
    assert fingerprints({"moved": moved})["moved"] != expected


def test_only_whole_layer_numbers_count():
    tensors = {f"model.{k}.w": torch.zeros(1) for k in (1, 10, 11, 2)}
    assert list(frozen_tensors(tensors, [1, 2])) == ["model.1.w", "model.2.w"]


def test_statistics_and_weights_are_told_apart():
    before = {"model.0.conv.weight": "a", "model.0.bn.running_mean": "b", "model.0.bn.bias": "c"}
    proof = FreezeProof(before, {**before, "model.0.bn.running_mean": "x"}, (0,))
    assert not proof.held
    assert proof.moved == proof.moved_statistics == ["model.0.bn.running_mean"]
    assert "freeze_statistics=true" in str(proof)
    broken = FreezeProof(before, {**before, "model.0.conv.weight": "x"}, (0,))
    assert broken.moved_statistics == []
    assert "model.0.conv.weight" in str(broken)
    whole = FreezeProof(before, dict(before), (0,))
    assert whole.held
    assert "bit for bit" in str(whole)
    assert [row["same"] for row in proof.table().rows] == [True, False, True]


@pytest.mark.parametrize(("layers", "said"), [(range(24), "freeze=23"), ([30], "0 to 23")])
def test_layers_that_cannot_be_frozen(layers, said):
    with pytest.raises(LabError, match=said):
        check_layers(layers, 24)
    check_layers(range(23), 24)
