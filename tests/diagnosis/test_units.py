from __future__ import annotations

import math

import pytest
import torch

from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit, initial_network
from tests.diagnosis.runs import kinds, the


def test_the_share_of_dead_units_is_counted_by_layer():
    """Pixels are never negative, so that a unit with negative weights only is dead."""
    recipe = Recipe(
        task="digits",
        hidden=(10, 6),
        activation="relu",
        init="constant",
        init_args={"value": -0.1},
        steps=3,
    )
    finding = the("dead_relus", fit(recipe))
    assert finding.evidence["share"] == {"layer1": 1.0, "layer2": 1.0}
    assert finding.changes == {"init": "kaiming_normal"}
    assert "100%" in finding.message
    assert "vanishing_activations" not in kinds(fit(recipe)), "it follows from the dead units"


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_the_share_of_saturated_units_is_counted(activation):
    recipe = Recipe(
        task="digits",
        hidden=(20,),
        activation=activation,
        init="normal",
        init_args={"std": 10.0},
        steps=2,
    )
    share = the("saturated_units", fit(recipe)).evidence["share"]["layer1"]
    with torch.no_grad():
        z = initial_network(recipe)[:2](recipe.data().train_inputs[:256])
    # The slope is 1 - tanh², 4 % of its largest at ±0.98; of a sigmoid that of half its input.
    edge = math.atanh(0.98) * (1 if activation == "tanh" else 2)
    assert share == pytest.approx((z.abs() > edge).double().mean().item(), abs=1e-3)
