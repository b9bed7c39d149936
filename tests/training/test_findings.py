from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding, diverged, first_non_finite_layer
from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step

INPUTS = torch.ones(4, 3)


def network(poisoned: int | None = None, value: float = math.nan) -> nn.Sequential:
    """Three layers in two levels, one of them with a bad weight."""
    made = nn.Sequential()
    made.add_module("layer1", nn.Linear(3, 3))
    made.add_module("block", nn.Sequential(nn.Tanh(), nn.Linear(3, 3)))
    made.add_module("output", nn.Linear(3, 2))
    if poisoned is not None:
        layers = [made.layer1, made.block[1], made.output]
        with torch.no_grad():
            layers[poisoned].weight[0, 0] = value
    return made


def history(*losses: float) -> History:
    made = History(Layout(("w",), ((1,),)))
    recorder = Recorder(made)
    for number, loss in enumerate([math.nan, *losses]):
        recorder.record(Step(number, loss, 0.1), np.zeros(1), np.zeros(1))
    return made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("poisoned", "name"), [(0, "layer1"), (1, "block.1"), (2, "output")])
def test_the_first_layer_that_is_not_finite(poisoned, name, value):
    assert first_non_finite_layer(network(poisoned, value), INPUTS) == name


def test_an_activation_can_be_the_first():
    class Log(nn.Module):
        def forward(self, x):
            return torch.log(x)

    made = nn.Sequential(nn.Linear(3, 3, bias=False), Log(), nn.Linear(3, 1))
    nn.init.zeros_(made[0].weight)
    assert first_non_finite_layer(made, INPUTS) == "1"


def test_a_healthy_network_has_none():
    assert first_non_finite_layer(network(), INPUTS) is None


@pytest.mark.parametrize("poisoned", [None, 1])
def test_looking_leaves_no_hooks_and_no_gradients(poisoned):
    made = network(poisoned)
    first_non_finite_layer(made, INPUTS)
    assert not any(module._forward_hooks for module in made.modules())
    assert all(parameter.grad is None for parameter in made.parameters())


def test_hooks_go_even_when_the_network_fails():
    made = network()
    with pytest.raises(RuntimeError):
        first_non_finite_layer(made, torch.ones(4, 5))
    assert not any(module._forward_hooks for module in made.modules())


def test_the_finding_has_step_layer_and_last_good_loss():
    finding = diverged(4, math.nan, network(1), INPUTS, history(0.9, 0.5, 0.25))
    assert finding.kind == "diverged"
    assert finding.evidence == {
        "step": 4,
        "loss": "nan",
        "layer": "block.1",
        "last_good_loss": 0.25,
        "last_good_step": 3,
    }
    assert finding.message == (
        "Training ended at step 4: the loss became NaN; it begins in block.1. "
        "The last good loss was 0.25, at step 3."
    )
    assert "smaller" in finding.remedy
    assert str(finding) == f"{finding.message} {finding.remedy}"


@pytest.mark.parametrize(
    ("recipe", "rates", "changes"),
    [
        (Recipe(optimizer="sgd", lr=10.0), [10.0], {"lr": 0.1}),  # its usual one
        (Recipe(optimizer="sgd", lr=0.5), [0.5], {"lr": 0.05}),  # a tenth
        (Recipe(optimizer="adadelta", lr=2.0), [2.0], {"lr": 0.2}),
        (Recipe(optimizer="sgd", lr=0.01), [0.01, 4.0], {"lr": 0.1}),  # raised in mid-run
        (Recipe(optimizer="sgd", lr=1e-5), [1e-5], {"lr": 1e-5}),  # the least there is
    ],
)
def test_the_remedy_is_a_learning_rate_computed_from_the_recipe(recipe, rates, changes):
    made = History(Layout(("w",), ((1,),)), {"recipe": recipe.model_dump()})
    recorder = Recorder(made)
    for number, rate in enumerate([recipe.lr, *rates]):
        recorder.record(Step(number, 1.0, rate), np.zeros(1), np.zeros(1))
    finding = diverged(9, math.inf, network(), INPUTS, made)
    assert finding.changes == changes
    assert f"lr={changes['lr']:g}" in finding.remedy
    assert recipe.replace(**finding.changes).lr == changes["lr"]


def test_the_last_good_loss_is_not_a_bad_one():
    finding = diverged(4, math.nan, network(), INPUTS, history(0.9, 0.5, math.inf))
    assert (finding.evidence["last_good_loss"], finding.evidence["last_good_step"]) == (0.5, 2)


@pytest.mark.parametrize("empty", [True, False])
def test_without_a_good_loss_it_names_none(empty):
    record = History(Layout(("w",), ((1,),))) if empty else history()
    finding = diverged(1, math.inf, network(), INPUTS, record)
    assert finding.evidence == {"step": 1, "loss": "inf", "layer": "the loss"}
    assert finding.message == (
        "Training ended at step 1: the loss became infinite; it begins in the loss."
    )


def test_a_finding_is_plain_data():
    finding = Finding("kind", "message.", "remedy.", {"x": 1})
    assert finding.as_dict() == {
        "kind": "kind",
        "message": "message.",
        "remedy": "remedy.",
        "evidence": {"x": 1},
        "changes": {},
    }
