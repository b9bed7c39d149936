from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from labkit.recipe.recipe import Recipe
from labkit.weights import anatomy, effective_rank, load, save


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.PReLU(4), nn.Linear(4, 3))


def kinds(found) -> dict[str, tuple[str, str, bool]]:
    return {info.name: (info.kind, info.layer, info.learned) for info in found}


def test_every_tensor_has_its_kind_and_its_owner():
    assert kinds(anatomy(network())) == {
        "0.weight": ("weight", "Linear", True),
        "0.bias": ("bias", "Linear", True),
        "1.weight": ("scale", "BatchNorm1d", True),
        "1.bias": ("bias", "BatchNorm1d", True),
        "2.weight": ("scale", "PReLU", True),
        "3.weight": ("weight", "Linear", True),
        "3.bias": ("bias", "Linear", True),
        "1.running_mean": ("buffer", "BatchNorm1d", False),
        "1.running_var": ("buffer", "BatchNorm1d", False),
        "1.num_batches_tracked": ("buffer", "BatchNorm1d", False),
    }


@pytest.mark.parametrize(
    "make",
    [
        network,
        lambda: Recipe(task="digits", network="cnn", hidden=(3, 4)).build_network(),
        lambda: nn.TransformerEncoderLayer(8, 2, 16),
        lambda: nn.LSTM(3, 5, num_layers=2),
        lambda: nn.Linear(2, 2),
        lambda: nn.Identity(),
    ],
    ids=["batch norm", "cnn", "transformer", "lstm", "a bare layer", "nothing"],
)
def test_nothing_of_the_state_is_missing(make):
    """Names and numbers as torch's own state_dict has them."""
    model = make()
    state, found = model.state_dict(), {info.name: info for info in anatomy(model)}
    assert set(found) == set(state)
    assert sum(info.count for info in found.values() if info.learned) == sum(
        parameter.numel() for parameter in model.parameters()
    )
    for name, info in found.items():
        values = state[name].numpy().astype(np.float64)
        assert info.shape == values.shape, name
        assert info.count == values.size, name
        assert info.dtype == str(state[name].dtype).removeprefix("torch."), name
        assert (info.mean, info.std) == pytest.approx((values.mean(), values.std())), name
        assert info.norm == pytest.approx(np.linalg.norm(values)), name


def test_frozen_layers_are_not_learned():
    model = network()
    model[0].requires_grad_(False)
    found = kinds(anatomy(model))
    assert not found["0.weight"][2]
    assert not found["0.bias"][2]
    assert found["3.weight"][2]


def test_tied_weights_are_counted_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert list(kinds(anatomy(model))) == ["0.weight", "0.bias", "1.bias"]


def test_an_optimizers_state_belongs_to_it():
    model = network()
    model[3].requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters())
    before = anatomy(model, optimizer)
    assert before == anatomy(model), "Adam remembers nothing before its first step"
    model(torch.ones(5, 2)).sum().backward()
    optimizer.step()
    state = [info for info in anatomy(model, optimizer) if info.kind == "optimizer state"]
    moving = ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"]
    assert {info.name for info in state} == {
        f"{key} of {name}" for name in moving for key in ("step", "exp_avg", "exp_avg_sq")
    }
    assert {(info.layer, info.learned) for info in state} == {("Adam", False)}
    of_weight = {info.name: info for info in state}["exp_avg of 0.weight"]
    expected = optimizer.state[model[0].weight]["exp_avg"].norm().item()
    assert (of_weight.shape, of_weight.norm) == ((4, 2), pytest.approx(expected, rel=1e-6))


def test_an_optimizer_may_hold_tensors_of_another_network():
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], momentum=0.9)
    (model(torch.ones(1, 2)) + other(torch.ones(1, 2))).backward()
    optimizer.step()
    names = [info.name for info in anatomy(model, optimizer) if info.kind == "optimizer state"]
    assert names.count("momentum_buffer of another tensor") == 2
    assert "momentum_buffer of weight" in names


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.bool])
def test_any_dtype_is_measured_in_float64(dtype):
    model = nn.Identity()
    values = torch.tensor([[1, 0], [1, 1]]).to(dtype)
    model.register_buffer("kept", values)
    (info,) = anatomy(model)
    expected = (str(dtype).removeprefix("torch."), 0.75, math.sqrt(3) / 4, math.sqrt(3))
    assert (info.dtype, info.mean, info.std, info.norm) == pytest.approx(expected)


def test_large_half_precision_values_do_not_overflow():
    model = nn.Identity()
    model.register_buffer("kept", torch.full((1000,), 60_000.0, dtype=torch.float16))
    (info,) = anatomy(model)
    held = float(np.float16(60_000))
    assert (info.mean, info.norm) == pytest.approx((held, held * math.sqrt(1000)))


def test_empty_and_scalar_tensors():
    model = nn.Identity()
    model.register_buffer("empty", torch.zeros(0, 3))
    model.register_buffer("scalar", torch.tensor(2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty, scalar = anatomy(model)
    assert (empty.count, empty.norm) == (0, 0)
    assert math.isnan(empty.mean)
    assert math.isnan(empty.std)
    assert (scalar.shape, scalar.mean, scalar.std) == ((), 2.0, 0.0)
    assert [info.row()["shape"] for info in (empty, scalar)] == ["0x3", "scalar"]


def test_looking_changes_nothing():
    model = network()
    model(torch.ones(5, 2)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    anatomy(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_row_holds_plain_facts():
    info = anatomy(nn.Conv2d(2, 4, 3))[0]
    row = info.row()
    assert list(row) == ["tensor", "kind", "layer", "learned", "shape", "count", "mean", "std"]
    assert (row["tensor"], row["shape"], row["count"]) == ("weight", "4x2x3x3", 72)


# --- more facts --------------------------------------------------------------------------


def test_bytes_sparsity_and_rank_are_numpys():
    model = network()
    with torch.no_grad():
        model[3].weight[model[3].weight.abs() < 0.2] = 0
    state = model.state_dict()
    for info in anatomy(model):
        values = state[info.name].numpy()
        assert info.bytes == values.nbytes
        assert info.sparsity == pytest.approx(np.mean(values == 0)), info.name
        if values.ndim < 2:
            assert math.isnan(info.rank)
            assert info.full_rank == 0
        else:
            singular = np.linalg.svd(values.astype(np.float64), compute_uv=False)
            share = singular / singular.sum()
            entropy = -np.sum(share * np.log(share))
            assert info.rank == pytest.approx(np.exp(entropy))
            assert info.full_rank == len(singular)


def test_effective_rank_by_hand():
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.ones(5, 9)) == pytest.approx(1)
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )
    assert effective_rank(torch.zeros(3, 4)) == 0
    assert effective_rank(torch.cat([torch.eye(3)] * 2)) == pytest.approx(3)
    for odd in (torch.ones(4), torch.tensor(1.0), torch.ones(0, 2), torch.tensor([[math.nan, 1]])):
        assert math.isnan(effective_rank(odd))


@pytest.mark.parametrize("shape", [(12, 5, 3, 3), (40, 2, 3, 3), (6, 1, 5, 5)])
def test_kernels_are_flattened_to_a_row_each(shape):
    kernels = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    singular = torch.linalg.svdvals(kernels.double().reshape(shape[0], -1))
    share = singular / singular.sum()
    expected = torch.special.entr(share).sum().exp().item()
    assert effective_rank(kernels.half().float()) == pytest.approx(expected, rel=1e-2)
    assert effective_rank(kernels) == pytest.approx(expected, rel=1e-6)


def test_of_a_rank_one_product_little_is_left_beside_one():
    left, right = torch.arange(1.0, 30), torch.arange(1.0, 50)
    assert effective_rank(torch.outer(left, right)) == pytest.approx(1, abs=1e-4)


def test_all_facts_fit_a_row():
    row = anatomy(network())[0].facts()
    assert (row["tensor"], row["bytes"], row["dtype"]) == ("0.weight", 32, "float32")
    assert row["effective rank"].endswith(" of 2")
    assert anatomy(network())[1].facts()["effective rank"] == ""


# --- files -------------------------------------------------------------------------------


def test_a_file_tells_the_same_as_its_network(tmp_path):
    model = network()
    loaded = load(save(tmp_path / "some.safetensors", model.state_dict()))
    of_network, of_file = anatomy(model), anatomy(loaded)
    assert [info.name for info in of_file] == [info.name for info in of_network]
    for one, other in zip(of_file, of_network, strict=True):
        facts = {**one.__dict__, "layer": other.layer}
        assert repr(facts) == repr(other.__dict__)
        assert one.layer == ""
        assert "layer" not in one.facts()
    assert repr(anatomy(tmp_path / "some.safetensors")) == repr(of_file)


def test_a_detectors_file_tells_its_blocks_and_buffers_stand_last():
    from labkit.core.ultralytics import ultralytics

    ultralytics()
    from ultralytics import YOLO

    wrapped = YOLO("yolo26n.yaml")
    found = anatomy(load(wrapped))
    assert len(found) == len(wrapped.model.state_dict())
    first = found[0]
    assert (first.name, first.layer, first.place) == ("model.0.conv.weight", "Conv", "model.0")
    assert {info.layer for info in found if info.place == "model.2"} == {"C3k2"}
    kinds = [info.kind == "buffer" for info in found]
    assert kinds == sorted(kinds)
    assert [info.name for info in anatomy(wrapped)] == [
        info.name for info in anatomy(wrapped.model)
    ]
    assert sum(info.count for info in found if info.learned) == sum(
        parameter.numel() for parameter in wrapped.model.parameters()
    )
