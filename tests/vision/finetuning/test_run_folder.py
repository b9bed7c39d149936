from __future__ import annotations

import errno
import json
from types import SimpleNamespace

import pytest
import torch

from labkit.core.errors import FileError, LabError
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.vision.finetuning import EpochRecord, FineTune, checkpoint
from labkit.vision.finetuning.run_folder import RunFolder, new_folder
from labkit.vision.finetuning.transfer import Transfer
from labkit.weights.load import load

TENSORS = {
    "model.0.conv.weight": torch.arange(4.0).reshape(4, 1, 1, 1),
    "model.1.conv.weight": torch.ones(2, 4, 1, 1),
}
DATA = SimpleNamespace(names={0: "cat", 1: "dog"}, sha256="0" * 64, name="pets")
NETWORK = SimpleNamespace(yaml={"nc": 2, "yaml_file": "/somewhere/a.yaml"})


def record(epoch: int, best: bool = True) -> EpochRecord:
    return EpochRecord(epoch, epoch, 1.0, {}, 0.5, 0.25, 0.5, 0.5, 0.01, 1.0, best)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A folder that has begun, its first layer frozen."""
    made = RunFolder(tmp_path, FineTune(freeze=1), DATA, "yolo26n", NETWORK)
    made.begin(TENSORS, Transfer(dict.fromkeys(TENSORS, "copied"), dict.fromkeys(TENSORS, 4)))
    return made


def test_the_beginning_holds_what_a_resumed_run_needs(run):
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["status"], facts["names"]) == ("running", {"0": "cat", "1": "dog"})
    assert FineTune(**facts["spec"]) == run.spec
    assert list(facts["freeze"]["before"]) == ["model.0.conv.weight"]
    first = load(run.path / checkpoint.FIRST)
    assert all(torch.equal(first.tensors[name], TENSORS[name]) for name in TENSORS)
    assert run.about == {"finetune": run.spec.model_dump(), "names": facts["names"]}


def test_weights_carry_their_description_but_no_path_of_this_machine(run):
    run.write_weights(checkpoint.BEST, TENSORS, record(2))
    content = (run.path / checkpoint.BEST).read_bytes()
    assert b"/somewhere" not in content
    found = load(run.path / checkpoint.BEST)
    assert found.names == {0: "cat", 1: "dog"}
    assert found.architecture == "yolo26n"
    assert (found.about["epoch"], found.about["map50"], found.about["map"]) == (2, 0.5, 0.25)


@pytest.mark.parametrize("best", [True, False])
def test_only_the_best_epoch_writes_weights(run, best):
    run.write_epoch([record(0), record(1, best)], {"average": TENSORS})
    assert (run.path / checkpoint.BEST).exists() is best
    state = checkpoint.read_state(run.path)
    assert [epoch["epoch"] for epoch in state["epochs"]] == [0, 1]
    assert torch.equal(state["average"]["model.0.conv.weight"], TENSORS["model.0.conv.weight"])


@pytest.mark.parametrize(
    ("epochs", "words"), [([0], "Give a folder with room"), ([0, 1], "of epoch 0 is intact")]
)
def test_a_full_disk_is_said_with_the_epoch_that_is_safe(run, monkeypatch, epochs, words):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_state", full)
    with pytest.raises(LabError, match=words):
        run.write_epoch([record(epoch) for epoch in epochs], {"average": TENSORS})


@pytest.mark.parametrize("moved", [False, True])
def test_the_proof_is_of_the_file_of_the_last_epoch(run, moved):
    after = {name: tensor + moved for name, tensor in TENSORS.items()}
    run.write_epoch([record(0)], {"average": after})
    history = History(Layout(("w",), ((1,),)))
    finding = Finding("lr_too_high", "It grew.", "", {})
    run.end("stopped", record(0), history, finding if moved else None)
    proof = run.proof()
    assert (proof.before == proof.after) is not moved
    facts = checkpoint.read_run(run.path)
    assert facts["status"] == "stopped"
    assert ("finding" in facts) is moved
    assert History.load(run.path / checkpoint.HISTORY).finding == (
        finding.as_dict() if moved else None
    )


def test_a_run_is_reopened_where_its_best_weights_are(run):
    run.write_epoch([record(0)], {"average": TENSORS})
    facts = {**checkpoint.read_run(run.path), "status": "stopped"}
    run.reopen(facts, {"epoch": 0})
    assert checkpoint.read_run(run.path)["status"] == "running"
    (run.path / checkpoint.BEST).unlink()
    with pytest.raises(FileError, match="start a new run"):
        run.reopen(facts, {"epoch": 0})


def test_folders_are_numbered(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    names = [new_folder(FineTune(), DATA, None).name for _ in range(3)]
    assert names == [f"pets-starter-{number}" for number in (1, 2, 3)]
    assert new_folder(FineTune(pretrained=False), DATA, None).name == "pets-starter-scratch-1"


def test_a_folder_of_ones_own_must_be_empty(tmp_path):
    assert new_folder(FineTune(), DATA, tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "a" / "b" / "file").touch()
    with pytest.raises(LabError, match="is not empty: give a new one, or resume it"):
        new_folder(FineTune(), DATA, tmp_path / "a" / "b")
    with pytest.raises(LabError, match="cannot be made"):
        new_folder(FineTune(), DATA, tmp_path / "a" / "b" / "file" / "c")
