"""What is taken over: told from the tensors, and checked against the old ones."""

import dataclasses

import pytest
import torch

from labkit.core.errors import LabError
from labkit.vision.detector import open_detector
from labkit.vision.finetuning.transfer import build, class_rows
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return open_detector(tiny.weights(tmp_path_factory.mktemp("old") / "old.safetensors"))


def test_class_rows_follow_their_names(old):
    network, transfer = build(old, {0: "cross", 1: "BAR ", 2: "square", 3: "ring"}, seed=5)
    rows = class_rows(network)
    before, after = old.model.state_dict(), network.state_dict()
    assert len(rows) == 12  # two heads, three scales, weights and biases
    assert set(transfer.named("re-mapped")) == set(rows)
    for name in rows:  # old order: disc, square, bar
        assert torch.equal(after[name][1], before[name][2])
        assert torch.equal(after[name][2], before[name][1])
        assert not torch.equal(after[name][0], before[name][0])
    assert transfer.classes == {"cross": None, "BAR ": "bar", "square": "square", "ring": None}
    others = [name for name in after if name not in rows]
    assert transfer.named("copied") == others
    assert all(torch.equal(after[name], before[name]) for name in others)
    assert "12 re-mapped" in str(transfer)


def test_rows_without_a_common_name_are_new(old):
    _, transfer = build(old, {0: "cat", 1: "dog"})
    assert len(transfer.named("new")) == 12
    assert transfer.named("re-mapped") == []
    assert 0.99 < transfer.share("copied") < 1


def test_as_many_classes_with_other_names_start_by_position(old):
    network, transfer = build(old, {0: "cat", 1: "dog", 2: "cow"})
    name = class_rows(network)[0]
    assert torch.equal(network.state_dict()[name], old.model.state_dict()[name])
    assert transfer.by_position
    assert "by position" in str(transfer)
    _, same = build(old, dict(enumerate(tiny.OLD)))
    assert not same.by_position


def test_from_scratch_nothing_is_taken_over(old):
    network, transfer = build(old, {0: "cat"}, pretrained=False, seed=1)
    assert transfer.share("new") == 1
    again, _ = build(old, {0: "cat"}, pretrained=False, seed=1)
    other, _ = build(old, {0: "cat"}, pretrained=False, seed=2)
    name = "model.0.conv.weight"
    assert torch.equal(network.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(network.state_dict()[name], other.state_dict()[name])


def test_the_old_detector_is_left_alone(old):
    before = {name: tensor.clone() for name, tensor in old.model.state_dict().items()}
    state = torch.get_rng_state()
    build(old, {0: "square"})
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], t) for name, t in old.model.state_dict().items())


def test_another_task_is_refused(old):
    with pytest.raises(LabError, match="starter"):
        build(dataclasses.replace(old, task="segment"), {0: "cat"})


def test_a_wider_class_branch_survives_a_file(tmp_path):
    """From 30 classes to 2 Ultralytics keeps the branch's width, which the file's yaml denies."""
    from labkit.weights.save import save

    names = tuple(f"class {k}" for k in range(40))
    wide = open_detector(tiny.weights(tmp_path / "wide.safetensors", names))
    network, transfer = build(wide, {0: "class 3", 1: "new"})
    assert len(transfer.named("re-mapped")) == 12
    described = {key: value for key, value in network.yaml.items() if key != "yaml_file"}
    path = save(
        tmp_path / "narrow",
        network.state_dict(),
        yaml=described,
        architecture="yolo26n",
        task="detect",
        names={"0": "class 3", "1": "new"},
    )
    again = open_detector(path).model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in network.state_dict().items())
