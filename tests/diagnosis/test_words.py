from __future__ import annotations

import pytest

from labkit.diagnosis.evidence import Evidence
from labkit.diagnosis.words import change, layers, names, remedy
from labkit.recipe.recipe import Recipe
from labkit.training.remedies import shorter_steps
from labkit.training.trainer import fit
from tests.diagnosis.runs import FALLING, record


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Take shorter steps."),
        ({"lr": 0.001}, "Take shorter steps: lr=0.001."),
        ({"lr": 1e-05, "init": "zeros"}, "Take shorter steps: lr=1e-05, init=zeros."),
        ({"init_args": {}}, "Take shorter steps: init_args=its defaults."),
    ],
)
def test_a_remedy_spells_its_changes(changes, expected):
    assert remedy("Take shorter steps", changes) == expected


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (["layer1.weight"], "layer1"),
        (["layer1.weight", "output.weight"], "layer1 and output"),
        (["a.weight", "b.weight", "c.weight"], "a, b and c"),
    ],
)
def test_layers_in_words(tensors, expected):
    assert names(tensors) == expected
    assert layers(tensors) == [tensor.split(".")[0] for tensor in tensors]


def test_changes_need_a_recipe():
    assert change(shorter_steps, Evidence(record(FALLING)), 0.1) == {}
    run = Evidence(fit(Recipe(task="moons", samples=20, hidden=(2,), steps=2, lr=0.01)))
    assert change(shorter_steps, run, 0.01) == {"lr": 0.001}
