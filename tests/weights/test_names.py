from __future__ import annotations

import pytest

from labkit.core.errors import LabError
from labkit.weights.names import layer_of, layers, looks_like_buffer, select

NAMES = [
    "model.1.conv.weight",
    "model.1.bn.running_var",
    "model.10.m.0.attn.qkv.conv.weight",
    "model.10.m.1.attn.qkv.conv.weight",
    "model.2.cv1.conv.weight",
]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.10.m.0.attn.qkv.conv.weight", "model.10"),
        ("0.weight", "0"),
        ("layer1.weight", "layer1"),
        ("backbone.layer1.0.conv1.weight", "backbone.layer1.0"),
        ("encoder.norm.weight", "encoder.norm"),
        ("weight_ih_l0", "weight_ih_l0"),
        ("3", "3"),
    ],
)
def test_a_tensor_belongs_to_its_layer(name, layer):
    assert layer_of(name) == layer


def test_layers_come_in_the_order_of_their_tensors():
    assert layers(NAMES) == ["model.1", "model.10", "model.2"]


def test_a_prefix_ends_at_a_dot():
    assert select(NAMES, "model.1") == NAMES[:2]
    assert select(NAMES, ["model.2", "model.10.m.1", "model.1.conv.weight"]) == [
        NAMES[0],
        *NAMES[3:],
    ]


@pytest.mark.parametrize("everything", [None, "all", (), ["all"]])
def test_nothing_wanted_means_all(everything):
    assert select(NAMES, everything) == NAMES


def test_a_slip_is_answered_with_the_nearest_layer():
    with pytest.raises(LabError, match=r"layer='model\.11' .* did you mean 'model\.1"):
        select(NAMES, ["model.1", "model.11"])


def test_statistics_are_known_by_their_names():
    assert [looks_like_buffer(name) for name in NAMES[:2]] == [False, True]
