from __future__ import annotations

import dataclasses

import pytest
import torch

from labkit.core.errors import LabError
from labkit.panels.quantize_views import QuantizeViews, Selection
from labkit.quantize import grid
from labkit.quantize.scheme import Scheme
from tests.vision.finetuning import tiny

LAYER = "model.0.conv.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny.weights(tmp_path_factory.mktemp("weights") / "some.safetensors")


def made(source, tensor: str = "", **more) -> QuantizeViews:
    choice = Selection(4, Scheme.of("symmetric channel"), tensor)
    return QuantizeViews(source, None, more.get("images"), choice, limit=2, imgsz=None)


def test_it_begins_with_the_first_weight_on_its_grid(source):
    views = made(source)
    assert views.choice.tensor == LAYER
    wanted = grid(views.tensors[LAYER], 4, "symmetric channel")
    assert torch.equal(views.grid.dequantized, wanted.dequantized)
    assert set(views.specs()) == {"grid"}
    assert views.words() == []
    assert views.facts()["tensor"] == LAYER


def test_a_tensor_of_one_dimension_has_one_grid(source):
    views = made(source, "model.2.cv1.bn.bias")
    assert views.grid.scheme.per == "tensor"
    assert views.choice.scheme.per == "channel", "the choice stays for the next tensor"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "symmetric channel min-max"),
        ({"head": False}, "symmetric channel min-max, head in float"),
        ({"activations": True}, "symmetric channel min-max, activations 8 bits"),
    ],
)
def test_a_selection_in_words(changes, words):
    choice = Selection(4, Scheme.of("symmetric channel"), LAYER)
    assert dataclasses.replace(choice, **changes).recipe == words


@pytest.mark.parametrize(
    ("given", "part"),
    [({"tensor": "model.0.conv.weigt"}, "did you mean"), ({"images": {"a": b""}}, "give data")],
)
def test_mistakes_are_explained(source, given, part):
    with pytest.raises(LabError, match=part):
        made(source, **given)
