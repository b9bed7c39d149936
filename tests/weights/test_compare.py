"""What changed, against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from labkit.core.errors import LabError
from labkit.core.table import Table
from labkit.weights import compare, save


def network(seed: int = 0, classes: int = 4) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.Conv2d(8, classes, 1))
        )


def moved(seed: int = 1) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    before = network().state_dict()
    generator = torch.Generator().manual_seed(seed)
    after = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator)
        if value.is_floating_point()
        else value + 2
        for name, value in before.items()
    }
    return before, after


def by_name(found):
    return {change.name: change for change in found}


def assert_is(change, old: np.ndarray, new: np.ndarray) -> None:
    gap = new - old
    assert change.count == old.size
    assert change.distance == pytest.approx(np.linalg.norm(gap))
    assert change.shift == pytest.approx(gap.mean())
    assert change.largest == pytest.approx(np.abs(gap).max())
    assert change.flipped == pytest.approx(np.mean(np.sign(old) * np.sign(new) < 0))
    if np.linalg.norm(old):
        assert change.relative == pytest.approx(np.linalg.norm(gap) / np.linalg.norm(old))
        cosine = old @ new / np.linalg.norm(old) / np.linalg.norm(new)
        assert change.cosine == pytest.approx(cosine)
        assert change.angle == pytest.approx(np.degrees(np.arccos(cosine)))
    else:
        assert math.isnan(change.relative)
        assert math.isnan(change.cosine)
        assert math.isnan(change.angle)


def flat(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().astype(np.float64).ravel()


def test_every_tensor_is_measured():
    before, after = moved()
    found = compare(before, after)
    assert [change.name for change in found] == list(before)
    for name, change in by_name(found).items():
        assert_is(change, flat(before[name]), flat(after[name]))
        assert not change.same
    kinds = {change.name: change.kind for change in found}
    assert kinds["0.weight"] == "weight"
    assert kinds["1.weight"] == "scale"
    assert kinds["1.running_var"] == kinds["1.num_batches_tracked"] == "buffer"


def test_a_layer_is_its_learned_tensors_taken_together():
    before, after = moved()
    layers = compare(before, after).layers
    assert [layer.name for layer in layers] == ["0", "1", "2"]
    for layer, names in zip(
        layers, (["0.weight", "0.bias"], ["1.weight", "1.bias"], ["2.0.weight", "2.0.bias"]),
        strict=True,
    ):  # fmt: skip
        old, new = (np.concatenate([flat(held[n]) for n in names]) for held in (before, after))
        assert_is(layer, old, new)
        assert layer.kind == "layer"


def test_directions_by_hand():
    old = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    for new, cosine, flipped in (
        (2 * old, 1.0, 0.0),
        (-old, -1.0, 0.5),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 0.0, 0.0),
        (torch.tensor([[-4.0, 9.0], [0.0, 3.0]]), 0.0, 0.25),
    ):
        (change,) = compare({"w": old}, {"w": new})
        assert (change.cosine, change.flipped) == (pytest.approx(cosine), flipped)
        assert -1 <= change.cosine <= 1


def test_the_same_weights_did_not_change():
    found = compare(network(), network())
    assert all(change.same and change.distance == 0 for change in found)
    assert all(layer.same for layer in found.layers)
    assert found.words() == ["0 of 9 tensors changed."]


def test_not_a_number_is_the_same_as_itself():
    odd = {"w": torch.tensor([[1.0, math.nan]])}
    assert compare(odd, odd)[0].same
    assert not compare(odd, {"w": torch.ones(1, 2)})[0].same


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("swapped", [False, True])
def test_rounding_is_no_change_and_is_told(dtype, swapped):
    full = network().state_dict()
    stripped = {n: v.to(dtype) if v.is_floating_point() else v for n, v in full.items()}
    pair = (stripped, full) if swapped else (full, stripped)
    found = compare(*pair)
    assert all(change.same for change in found)
    for name, change in by_name(found).items():
        gap = full[name].double() - stripped[name].double()
        assert change.distance == pytest.approx(gap.norm().item())
        assert change.rounding == pytest.approx(change.distance)
    counted, told = found.words()
    short = str(dtype).removeprefix("torch.")
    names = (short, "float32") if swapped else ("float32", short)
    assert counted == "0 of 9 tensors changed."
    assert told.startswith(f"{names[0]} is compared with {names[1]} in 8 tensors")


def test_a_change_beyond_rounding_is_seen_across_dtypes():
    full = network().state_dict()
    stripped = {n: v.half() if v.is_floating_point() else v for n, v in full.items()}
    full = {n: v.clone() for n, v in full.items()}
    full["2.0.bias"][1] += 0.01
    changed = [change.name for change in compare(stripped, full) if not change.same]
    assert changed == ["2.0.bias"]


def test_tensors_of_one_side_are_named_and_the_rest_compared():
    old, new = network().state_dict(), network().state_dict()
    del new["1.running_mean"]
    new["extra.weight"] = torch.ones(2, 2)
    found = compare(old, new)
    assert [change.name for change in found] == [name for name in old if name != "1.running_mean"]
    assert (found.only_before, found.only_after) == (("1.running_mean",), ("extra.weight",))
    assert found.reshaped == {}
    assert found.words()[1:] == ["Only before: 1.running_mean.", "Only after: extra.weight."]


def test_shapes_before_and_after_are_told():
    found = compare(network(), network(classes=3))
    assert found.reshaped == {
        "2.0.weight": ((4, 8, 1, 1), (3, 8, 1, 1)),
        "2.0.bias": ((4,), (3,)),
    }
    assert found.only_before == found.only_after == ()
    assert "2.0.weight (4x8x1x1 → 3x8x1x1)" in found.words()[-1]


def test_networks_that_have_nothing_in_common():
    with pytest.raises(LabError, match=r"before has 0\.weight, 0\.bias and 7 more; after has w\)"):
        compare(network(), {"w": torch.ones(2)})


def test_files_and_networks_are_compared_alike(tmp_path):
    old, new = network(0), network(1)
    path = save(tmp_path / "old.safetensors", old.state_dict())
    assert compare(path, new).changes == compare(old, new).changes


def test_looking_changes_nothing():
    old, new = network(0), network(1)
    kept = {name: value.clone() for name, value in old.state_dict().items()}
    compare(old, new)
    assert all(torch.equal(value, kept[name]) for name, value in old.state_dict().items())


def test_it_is_a_sequence_and_a_table():
    found = compare(*moved())
    assert len(found) == 9
    assert found[0] is next(iter(found))
    assert [change.name for change in found[1:3]] == ["0.bias", "1.weight"]
    table = Table(change.row() for change in found)
    assert table.columns[:2] == ["tensor", "kind"]
    assert Table(layer.row() for layer in found.layers).columns[0] == "layer"
    assert "9 of 9 tensors changed" in repr(found)
