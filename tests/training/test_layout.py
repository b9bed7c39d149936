from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from labkit.training.layout import Layout, layout_of

LAYOUT = Layout(("layer.weight", "layer.bias", "scale"), ((4, 3), (4,), (1,)))


def test_a_layout_lays_tensors_end_to_end():
    assert (LAYOUT.sizes, LAYOUT.total) == ((12, 4, 1), 17)
    assert [LAYOUT.span(name) for name in LAYOUT.names] == [
        slice(0, 12),
        slice(12, 16),
        slice(16, 17),
    ]
    assert LAYOUT.shape("layer.bias") == (4,)


def test_splitting_gives_views():
    flat = np.arange(17.0)
    parts = LAYOUT.split(flat)
    assert list(parts) == list(LAYOUT.names)
    assert parts["layer.weight"].tolist() == np.arange(12.0).reshape(4, 3).tolist()
    parts["scale"][0] = -1
    assert flat[16] == -1


def test_an_unknown_tensor_is_answered_with_the_known_ones():
    with pytest.raises(KeyError, match=r"no tensor 'bias'; there are layer\.weight, layer\.bias"):
        LAYOUT.span("bias")


def test_layouts_are_equal_by_names_and_shapes_whatever_was_looked_up():
    other = Layout(LAYOUT.names, LAYOUT.shapes)
    LAYOUT.span("scale")
    assert other == LAYOUT
    assert hash(other) == hash(LAYOUT)
    assert pickle.loads(pickle.dumps(LAYOUT)) == other
    assert Layout(LAYOUT.names, ((3, 4), (4,), (1,))) != LAYOUT


def test_a_networks_layout_is_that_of_torchs_parameter_vector():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4, bias=False))
    layout = layout_of(network)
    flat = nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    assert layout.total == len(flat)
    for name, array in layout.split(flat).items():
        expected = network.get_parameter(name)
        assert torch.equal(torch.from_numpy(array), expected), name
