from __future__ import annotations

import itertools

import pytest
import torch

from labkit.core.errors import LabError
from labkit.vision import damage_by_layer, damage_curve, evaluate
from labkit.vision.perturbation import amounts, damageable, kind_of
from labkit.weights import DAMAGES, Damage, perturbed
from tests.vision.networks import data_set, detector


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("data"), val=4)


def test_a_curve_is_what_each_damage_alone_gives(data):
    one = detector()
    before = {name: tensor.clone() for name, tensor in one.tensors.items()}
    curve = dict(damage_curve(one, data, "noise", values=[0.0, 0.4], seed=3, imgsz=64))
    assert all(torch.equal(before[name], tensor) for name, tensor in one.tensors.items())
    assert curve[0.0].map50 == evaluate(one, data, imgsz=64).map50
    with perturbed(one.model, Damage("noise", 0.4, seed=3)):
        assert curve[0.4].map50 == pytest.approx(evaluate(one, data, imgsz=64).map50, abs=1e-6)
    assert curve[0.4].map50 != curve[0.0].map50


def test_layer_by_layer_each_is_damaged_alone(data):
    one = detector()
    found = damage_by_layer(one, data, "scale", 0.0, limit=2, imgsz=64)
    layers = damageable(one)
    assert list(found) == layers
    assert (layers[0], layers[-1]) == ("model.0", "model.23")
    with perturbed(one.model, Damage("scale", 0.0, ("model.2",))):
        assert found["model.2"].map50 == pytest.approx(
            evaluate(one, data, limit=2, imgsz=64).map50, abs=1e-6
        )


def test_layers_have_kinds():
    assert kind_of(detector(), "model.0") == "Conv"
    assert kind_of(detector(), "model.23") == "Detect"
    with pytest.raises(LabError, match=r"no layer 'model\.77'"):
        kind_of(detector(), "model.77")


@pytest.mark.parametrize("kind", DAMAGES)
def test_amounts_go_from_none_to_all(kind):
    knob, none = DAMAGES[kind].parameters()["amount"], DAMAGES[kind].traits["unharmed"]
    found = amounts(kind)
    assert found == sorted(set(found))
    assert none in found
    assert found[-1] == knob.high
    assert found[0] == (knob.low if none > knob.low else none)
    gaps = [b - a for a, b in itertools.pairwise(found) if a >= none]
    assert gaps == sorted(gaps), "close together where most happens"
