"""Saving: the same weights are the same bytes, and everything comes back."""

from __future__ import annotations

import pytest
import torch

from labkit.core.errors import LabError
from labkit.weights import load, save
from tests.weights import goods

KINDS = ("float32", "float16", "bfloat16", "float8_e4m3fn", "int8", "int64", "bool")


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    held = {f"model.{i}.{kind}": torch.randn(2, 3) for i, kind in enumerate(KINDS)}
    return {name: t.to(getattr(torch, name.rpartition(".")[2])) for name, t in held.items()}


def test_all_dtypes_come_back_bit_for_bit_and_in_order(tmp_path):
    held = tensors()
    held["model.10.w"] = torch.ones(1)
    held["model.9.w"] = torch.tensor(3.0)
    loaded = load(save(tmp_path / "net", held))
    assert list(loaded.tensors) == list(held)
    for name, tensor in held.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert loaded.tensors[name].shape == tensor.shape
        assert (
            loaded.tensors[name].numpy(force=True).tobytes() == tensor.numpy().tobytes()
            if (tensor.dtype not in (torch.bfloat16, torch.float8_e4m3fn))
            else torch.equal(loaded.tensors[name].float(), tensor.float())
        )


def test_the_same_weights_are_the_same_bytes(tmp_path):
    facts = {"names": {i: str(i) for i in range(20)}, "task": "detect", "licence": "x", "b": [1]}
    paths = [save(tmp_path / str(i), tensors(), **facts) for i in range(5)]
    assert len({path.read_bytes() for path in paths}) == 1
    again = save(tmp_path / "again", load(paths[0]))
    assert again.read_bytes() == paths[0].read_bytes()


def test_a_detector_comes_back_with_all_that_is_needed_to_build_it(tmp_path):
    network = goods.checkpoint("yolo26n")["model"]
    before = load(network)
    path = save(tmp_path / "net.safetensors", before, date="2026-01-01", map50=0.5)
    after = load(path)
    assert after.yaml == before.yaml == network.yaml
    assert after.names == before.names
    assert (after.task, after.architecture, after.date) == ("detect", "yolo26n", "2026-01-01")
    assert after.about["stride"] == [8, 16, 32]
    assert after.about["map50"] == 0.5
    assert after.train_args == before.train_args
    assert after.buffers == before.buffers
    assert list(after.tensors) == list(network.state_dict())


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    shared = torch.arange(6.0)
    loaded = load(save(tmp_path / "net", {"a": shared, "b": shared, "c": shared.view(2, 3).t()}))
    assert torch.equal(loaded.tensors["b"], shared)
    assert torch.equal(loaded.tensors["c"], shared.view(2, 3).t())


def test_a_path_gets_its_ending_or_is_refused(tmp_path):
    assert save(tmp_path / "net", {"w": torch.ones(1)}).name == "net.safetensors"
    with pytest.raises(LabError, match=r"saves weights as \.safetensors"):
        save(tmp_path / "net.pt", {"w": torch.ones(1)})


def test_what_is_no_json_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(LabError, match="not JSON"):
        save(tmp_path / "net", {"w": torch.ones(1)}, when=object())
    with pytest.raises(LabError, match="not JSON"):
        save(tmp_path / "net", {"w": torch.ones(1)}, loss=float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = save(tmp_path / "net", {"w": torch.ones(1)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        save(path, {"w": torch.zeros(1)})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_other_programs_read_it(tmp_path):
    from safetensors.torch import load_file

    path = save(tmp_path / "net", tensors(), names=["cat"])
    assert set(load_file(path)) == set(tensors())
