from __future__ import annotations

import errno
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from labkit.core.errors import FileError, LabError
from labkit.vision.finetuning import checkpoint

STATE = {
    "epoch": 3,
    "average": {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)},
    "optimizer": {
        "state": {0: {"step": torch.tensor(4.0)}, 2: {}},
        "groups": [{"betas": (0.9, 1)}],
    },
    "history": {"scalars": np.eye(3), "empty": np.empty((0, 5))},
    "half": torch.ones(3, dtype=torch.bfloat16),
    "words": ["a", None, True, 0.1],
}


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b and type(a) is type(b)


def test_a_state_comes_back_as_it_was(tmp_path):
    checkpoint.write_state(tmp_path, STATE)
    assert same(checkpoint.read_state(tmp_path), STATE)


def test_it_is_a_plain_safetensors_file_with_a_tensor_per_type(tmp_path):
    checkpoint.write_state(tmp_path, STATE)
    with safe_open(tmp_path / checkpoint.STATE, framework="pt") as file:
        assert set(file.keys()) == {"float32", "int64", "float64", "bfloat16"}
        assert file.get_tensor("float64").numel() == 9


def test_before_the_first_epoch_there_is_none(tmp_path):
    assert checkpoint.read_state(tmp_path) is None


@pytest.mark.parametrize("keep", [0, 7, 60, 0.5, 0.95])
def test_a_state_that_is_cut_short_says_where_the_weights_are(tmp_path, keep):
    checkpoint.write_state(tmp_path, STATE)
    path = tmp_path / checkpoint.STATE
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(FileError, match="cut short or damaged") as caught:
        checkpoint.read_state(tmp_path)
    assert str(tmp_path / checkpoint.BEST) in str(caught.value)


def test_another_safetensors_file_is_no_state(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / checkpoint.STATE)
    with pytest.raises(FileError, match="is not the state of a fine-tuning run"):
        checkpoint.read_state(tmp_path)


def test_the_facts_of_a_run_are_json(tmp_path):
    checkpoint.write_run(tmp_path, {"status": "running", "names": {"0": "cat"}})
    found = checkpoint.read_run(tmp_path)
    assert found == json.loads((tmp_path / checkpoint.RUN).read_text())
    assert (found["status"], found["format"]) == ("running", checkpoint.FORMAT)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "has no run.json"), ("{", "cannot be read"), ("[1]", "is not of a fine-tuning run"),
     ('{"format": "other/1"}', "is not of a fine-tuning run")],
)  # fmt: skip
def test_what_is_no_run_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / checkpoint.RUN).write_text(content)
    with pytest.raises(FileError, match=words):
        checkpoint.read_run(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="is not there"):
        checkpoint.read_run(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("complete", "words"),
    [(None, "Give a folder with room"), (4, "checkpoint of epoch 4 is intact")],
)
def test_a_full_disk_is_said_with_what_is_safe(tmp_path, complete, words):
    with pytest.raises(LabError, match=words) as caught:  # noqa: SIM117
        with checkpoint.writing(tmp_path, "state", complete):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert f"{tmp_path / 'state'} could not be written: No space left on device." in str(
        caught.value
    )


def test_ranges_of_quantization_are_no_weights():
    tensors = {"model.0.weight": torch.ones(1), "model.0.input_quantizer._amax": torch.ones(1)}
    assert list(checkpoint.without_ranges(tensors)) == ["model.0.weight"]
