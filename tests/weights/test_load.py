"""Loading: the tensors are those that were saved, and the metadata is what was said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from labkit.core.errors import FileError, LabError
from labkit.weights import Weights, load
from labkit.weights.file import digest
from tests.weights import goods


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def same(tensors, expected) -> bool:
    return list(tensors) == list(expected) and all(
        torch.equal(tensors[name].view(torch.uint8), expected[name].contiguous().view(torch.uint8))
        and tensors[name].dtype == expected[name].dtype
        for name in expected
        if expected[name].ndim
    )


# --- checkpoints of Ultralytics ------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("yolo26n", "detect"),
        ("yolo26n-seg", "segment"),
        ("yolo26n-cls", "classify"),
        ("yolo26n-pose", "pose"),
        ("yolo26n-obb", "obb"),
        ("yolov8n", "detect"),
        ("yolo11n-seg", "segment"),
    ],
)
def test_a_checkpoint_of_ultralytics(tmp_path, architecture, task):
    saved = goods.checkpoint(architecture)
    network = saved["model"]
    network.names = {0: "cat", 1: "dog"}
    path = put(tmp_path, "best.pt", goods.saved(saved))
    weights = load(path)
    assert same(weights.tensors, network.state_dict())
    assert weights.buffers == {n for n, _ in network.named_buffers()} & set(weights.tensors)
    assert weights.architecture == architecture
    assert weights.task == task
    assert weights.names == {0: "cat", 1: "dog"}
    assert weights.yaml == network.yaml
    assert weights.train_args["data"] == "coco.yaml"
    assert weights.train_args["epochs"] == 12
    assert weights.date == "2026-02-03T04:05:06"
    assert weights.about["version"] == "8.4.0"
    assert (weights.format, weights.path, weights.size) == ("pt", path, path.stat().st_size)
    import hashlib

    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checkpoint_of_a_run_that_goes_on_has_the_averaged_weights(tmp_path):
    weights = load(put(tmp_path, "last.pt", goods.ultralytics_in_training()))
    assert weights.architecture == "yolo11n"
    assert weights.about["updates"] == 7
    assert weights.about["train_metrics"] == {"fitness": 0.25, "rows": 3}
    assert not any("momentum" in name for name in weights.tensors)


def test_numbers_of_numpy_and_paths_become_plain(tmp_path):
    weights = load(put(tmp_path, "best.pt", goods.ultralytics_detector()))
    assert weights.about["best_fitness"] == 0.5
    assert weights.about["path"] == "a/b"


def test_a_description_that_would_execute_is_reported_and_not_passed_on(tmp_path):
    weights = load(put(tmp_path, "best.pt", goods.evil_network_description()))
    assert weights.yaml is None
    assert "activation" in weights.yaml_problem
    assert len(weights.tensors) == 355


# --- other .pt files -----------------------------------------------------------------------


def test_a_state_dict(tmp_path):
    held = goods.network().state_dict()
    weights = load(put(tmp_path, "net.pt", goods.saved(held)))
    assert same(weights.tensors, held)
    assert weights.buffers == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert (weights.architecture, weights.task, weights.yaml) == (None, None, None)


def test_a_state_dict_within_a_checkpoint(tmp_path):
    held = goods.network().state_dict()
    path = put(tmp_path, "net.pth", goods.saved({"epoch": 3, "model_state_dict": held}))
    weights = load(path)
    assert same(weights.tensors, held)
    assert weights.about == {"epoch": 3}


def test_a_whole_module(tmp_path):
    network = goods.network()
    network.register_buffer("passing", torch.ones(2), persistent=False)
    weights = load(put(tmp_path, "net.pt", goods.saved(network)))
    assert same(weights.tensors, network.state_dict())


def test_every_dtype_comes_as_it_is_on_disk(tmp_path):
    weights = load(put(tmp_path, "net.pt", goods.dtypes()))
    for name, tensor in weights.tensors.items():
        assert str(tensor.dtype) == name
        assert tensor.shape == (2, 3)
    assert {"torch.bfloat16", "torch.float8_e4m3fn"} <= set(weights.tensors)


def test_views_of_one_storage_come_apart(tmp_path):
    weights = load(put(tmp_path, "net.pt", goods.one_storage_for_two()))
    shared = torch.arange(12.0)
    assert torch.equal(weights.tensors["a"], shared[:6].view(2, 3))
    assert torch.equal(weights.tensors["b"], shared[6:])
    assert torch.equal(weights.tensors["c"], shared.view(3, 4).t())
    assert all(tensor.is_contiguous() for tensor in weights.tensors.values())


def test_a_value_that_changed_on_disk_is_noticed(tmp_path):
    data = bytearray(goods.saved({"w": torch.zeros(64)}))
    data[data.index(bytes(256)) + 100] ^= 4
    with pytest.raises(FileError, match="has changed since it was written"):
        load(put(tmp_path, "net.pt", bytes(data)))


def test_a_checkpoint_without_checksums_loads(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = goods.saved({"w": torch.ones(64)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert load(put(tmp_path, "net.pt", data)).count == 64


# --- other formats -------------------------------------------------------------------------


def test_safetensors_of_another_program(tmp_path):
    from safetensors.torch import save

    held = {
        "model.10.w": torch.randn(2, 2).bfloat16(),
        "model.2.w": torch.randn(3).to(torch.float8_e5m2),
        "model.2.running_mean": torch.zeros(3),
    }
    path = put(tmp_path, "net.safetensors", save(held, {"format": "pt", "names": '["cat"]'}))
    weights = load(path)
    assert list(weights.tensors) == ["model.2.running_mean", "model.2.w", "model.10.w"]
    assert same(weights.tensors, {name: held[name] for name in weights.tensors})
    assert weights.buffers == {"model.2.running_mean"}
    assert weights.names == {0: "cat"}
    assert weights.about == {"format": "pt"}


def test_what_was_read_does_not_depend_on_the_file_any_more(tmp_path):
    for name, make in goods.MAKERS.items():
        if name.startswith(("ultralytics", "evil")):
            continue
        path = put(tmp_path, name, make())
        weights = load(path)
        before = digest(weights.tensors)
        path.write_bytes(bytes(path.stat().st_size))
        assert digest(weights.tensors) == before, name


# --- what is in memory ---------------------------------------------------------------------


def test_a_module():
    network = goods.network()
    network.names, network.task = ["cat", "dog"], "classify"
    weights = load(network)
    assert same(weights.tensors, network.state_dict())
    assert weights.buffers == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert (weights.format, weights.path, weights.task) == ("module", None, "classify")
    assert weights.names == {0: "cat", 1: "dog"}
    with torch.no_grad():
        network[0].weight.zero_()
    assert weights.tensors["0.weight"].abs().sum() > 0, "a copy, not a view"


def test_ultralytics_own_object():
    from labkit.core.ultralytics import silent, ultralytics

    ultralytics()
    with silent():
        from ultralytics import YOLO

        model = YOLO("yolov8n.yaml")
    weights = load(model)
    assert same(weights.tensors, model.model.state_dict())
    assert (weights.architecture, weights.task) == ("yolov8n", "detect")
    assert weights.yaml == model.model.yaml


def test_a_state_dict_in_memory():
    held = goods.network().state_dict()
    weights = load(held)
    assert same(weights.tensors, held)
    assert weights.format == "state dict"
    assert weights.sha256 == load({name: held[name].clone() for name in held}).sha256
    changed = {**held, "0.bias": held["0.bias"] + 1}
    assert load(changed).sha256 != weights.sha256
    assert load(weights) is weights


def test_what_no_weights_can_be_taken_from():
    with pytest.raises(LabError, match="weights cannot be taken from int"):
        load(3)
    with pytest.raises(LabError, match="'epoch' is int"):
        load({"epoch": 3})
    with pytest.raises(LabError, match="holds no tensors"):
        load({})
    with pytest.raises(LabError, match="holds no tensors"):
        load(nn.Identity())


def test_weights_say_what_they_are(tmp_path):
    weights = load(put(tmp_path, "net.pt", goods.state_dict()))
    assert isinstance(weights, Weights)
    assert "9 tensors" in repr(weights)
    assert weights.count == sum(t.numel() for t in weights.tensors.values())
    assert weights.nbytes == sum(t.nbytes for t in weights.tensors.values())


# --- damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["state_dict.pt", "plain.safetensors", "initializers.onnx"])
@pytest.mark.parametrize("seed", range(3))
def test_any_damage_is_a_clear_error_or_harmless(tmp_path, name, seed):
    """Random bytes changed, removed or doubled anywhere in a good file."""
    damage(tmp_path, name, seed)


@pytest.mark.parametrize("seed", range(3))
def test_any_damage_to_tflite_is_a_clear_error_or_harmless(tmp_path, seed):
    damage(tmp_path, "made_by_hand.tflite", seed)


def damage(folder: Path, name: str, seed: int, rounds: int = 40) -> None:
    data = goods.MAKERS[name]()
    rng = np.random.default_rng(seed)
    path = folder / name
    for _ in range(rounds):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(changed)))
            match rng.integers(4):
                case 0:
                    changed[at] = int(rng.integers(256))
                case 1:
                    changed[at : at + 4] = rng.bytes(4)
                case 2:
                    del changed[at : at + int(rng.integers(1, 200))]
                case 3:
                    changed[at:at] = changed[at : at + int(rng.integers(1, 200))]
        path.write_bytes(changed)
        if problem := error_of(path):
            assert len(problem.splitlines()) == 1
            assert name in problem


def error_of(path: Path) -> str | None:
    try:
        load(path)
    except FileError as error:
        return str(error)
    return None


def test_a_file_cannot_smuggle_control_codes_into_a_terminal(tmp_path):
    header = json.dumps({"\x1b[31m": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})
    data = len(header).to_bytes(8, "little") + header.encode() + bytes(8)
    with pytest.raises(FileError) as caught:
        load(put(tmp_path, "net.safetensors", data))
    assert str(caught.value).isprintable()


def test_an_unreadable_file_is_reported(tmp_path):
    with pytest.raises(FileError, match="is not there"):
        load(tmp_path / "none.pt")
    with pytest.raises(FileError, match="is not a file"):
        load(tmp_path)
    out = io.BytesIO()
    torch.save({}, out)
    with pytest.raises(FileError, match="no named tensors"):
        load(put(tmp_path, "none.pt", out.getvalue()))
