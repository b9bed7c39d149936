"""Cases of 02_initialization."""

from __future__ import annotations

import pytest
import torch

from labkit.recipe.initialize import INITS
from labkit.recipe.recipe import Recipe
from tests.notebooks.cases.case import Case, Results


def relu_stds(factor: float, depth: int, width: int, seed: int) -> list[float]:
    """He's start times `factor`, sent through by hand: torch's own init, layer by layer."""
    generator = torch.Generator().manual_seed(seed)
    signal = Recipe(task="digits").data().train_inputs[:256].flatten(1)
    found = []
    for _ in range(depth):
        weight = torch.empty(width, signal.shape[1])
        torch.nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
        signal = torch.relu(signal @ (factor * weight).T)
        found.append(signal.std(correction=0).item())
    return found


def half_of_he_dies_on_its_way(results: Results) -> None:
    assert results["init"] == "kaiming_normal(factor=0.5)"
    assert (results["activation"], results["depth"]) == ("relu", 6)
    assert results["activation_std"] == pytest.approx(relu_stds(0.5, 6, 32, 0)[-1], rel=1e-3)
    whole = relu_stds(1.0, 6, 32, 0)[-1]
    assert results["activation_std"] == pytest.approx(whole / 2**6, rel=1e-3)
    whatever_the_start(results)
    assert results["accuracy"] < results["best_accuracy"]


def whatever_the_start(results: Results) -> None:
    """What the notebook says in every run."""
    assert results["equal_units_accuracy"] < results["random_units_accuracy"]
    # A sigmoid's slope is 1/4 at most, and Xavier's weights keep a gradient's size; the
    # draw of the weights may add a little.
    steps_back = results["depth"] - 1
    lost = results["sigmoid_gradient_first"] / results["sigmoid_gradient_last"]
    assert lost ** (1 / steps_back) < 0.3
    assert results["dead_after_one_step"] > 2 * results["dead_before"]
    assert results["lsuv_last_std"] == pytest.approx(1, abs=0.03)
    assert results["best_init"] in INITS
    assert results["best_accuracy"] > 0.6


def tanh_from_a_rotation(results: Results) -> None:
    assert (results["init"], results["activation"], results["depth"]) == ("orthogonal", "tanh", 3)
    assert 0.3 < results["activation_std"] < 1, "tanh stays below 1, a rotation keeps lengths"
    assert results["accuracy"] > 0.6
    whatever_the_start(results)


SHORT = {"depth": 6, "width": 32, "steps": 40}
CASES = [
    Case("02", SHORT, 12, half_of_he_dies_on_its_way),
    Case(
        "02",
        {"init": "orthogonal", "factor": 1.0, "activation": "tanh", "depth": 3, "width": 24,
         "steps": 60, "seed": 5},
        12,
        tanh_from_a_rotation,
    ),
]  # fmt: skip
