"""Cases of 03_loss_and_gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labkit.toys.gradients.backprop import TinyNetwork
from tests.notebooks.cases.case import Case, Results


def guesses(outlier: float, seed: int) -> np.ndarray:
    """The nine guesses, drawn again."""
    return np.append(np.random.default_rng(seed).normal(4.0, 0.8, 8), outlier)


def torch_losses(
    seed: int, activation: nn.Module, x: tuple[float, float], wanted: float, lr: float, updates: int
) -> list[float]:
    """The tiny network trained by torch alone: the loss before each update and at the end."""
    n = TinyNetwork.draw(seed)
    network = nn.Sequential(nn.Linear(2, 2), activation, nn.Linear(2, 1)).double()
    values = ([[n.w11, n.w12], [n.w21, n.w22]], [n.b1, n.b2], [[n.v1, n.v2]], [n.c])
    with torch.no_grad():
        for p, value in zip(network.parameters(), values, strict=True):
            p.copy_(torch.tensor(value))
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    losses = []
    for _ in range(updates + 1):
        loss = (network(torch.tensor([x], dtype=torch.float64)) - wanted).square().sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def by_hand_is_what_torch_finds(results: Results) -> None:
    values = guesses(12.0, 0)
    assert results["best_by_mse"] == pytest.approx(values.mean())
    assert results["best_by_l1"] == pytest.approx(np.median(values))
    assert results["best_by_l1"] < results["best_by_huber"] < results["best_by_mse"]
    p = 1 / (1 + np.exp(5))
    assert results["slope_of_brier"] == pytest.approx(2 * (p - 1) * p * (1 - p))
    assert results["slope_of_cross_entropy"] == pytest.approx(p - 1)
    assert results["difference_to_autograd"] < 1e-14
    assert results["mistake_found"] is True
    assert results["error_with_mistake"] > 0.1
    assert results["error_of_real_network"] < 1e-7
    assert results["exercise_right"] is False, "the first attempt is half of the answer"
    losses = torch_losses(0, nn.Tanh(), (1.0, -0.5), 1.0, lr=0.1, updates=20)
    assert results["loss_before"] == pytest.approx(losses[0])
    assert results["loss_after_one_update"] == pytest.approx(losses[1])
    assert results["loss_at_the_end"] == pytest.approx(losses[-1], rel=1e-6)
    assert losses[-1] < losses[1] < losses[0]


def a_wide_delta_makes_the_first_attempt_right(results: Results) -> None:
    """Beyond all errors, Huber is the parabola e²/2: its slope is the error, and it likes means."""
    values = guesses(9.0, 4)
    assert results["best_by_huber"] == pytest.approx(values.mean(), abs=1e-6)
    assert results["best_by_mse"] == pytest.approx(values.mean())
    assert results["exercise_right"] is True
    assert results["mistake_found"] is True
    assert results["error_with_mistake"] == pytest.approx(0.5, rel=1e-4), "half of the gradient"
    assert results["difference_to_autograd"] < 1e-14
    losses = torch_losses(4, nn.Sigmoid(), (-1.0, 0.5), -0.5, lr=0.3, updates=5)
    assert results["loss_before"] == pytest.approx(losses[0])
    assert results["loss_at_the_end"] == pytest.approx(losses[-1], rel=1e-6)
    # Where the answer is right both losses leave it alone.
    assert abs(results["slope_of_brier"]) < 1e-3
    assert abs(results["slope_of_cross_entropy"]) < 1e-2


def without_a_mistake_nothing_is_found(results: Results) -> None:
    assert results["mistake_found"] is False
    assert results["error_with_mistake"] < 1e-6
    assert results["difference_to_autograd"] < 1e-14
    losses = torch_losses(1, nn.ReLU(), (0.5, 1.5), 1.0, lr=0.05, updates=20)
    assert results["loss_at_the_end"] == pytest.approx(losses[-1], rel=1e-6)


WIDE = {
    "delta": 10.0,
    "outlier": 9.0,
    "logit": 6.0,
    "activation": "sigmoid",
    "mistake": "factor",
    "x1": -1.0,
    "x2": 0.5,
    "wanted": -0.5,
    "lr": 0.3,
    "updates": 5,
    "seed": 4,
}
RIGHT = {"mistake": "none", "activation": "relu", "x1": 0.5, "x2": 1.5, "lr": 0.05, "seed": 1}
CASES = [
    Case("03", {}, 18, by_hand_is_what_torch_finds),
    Case("03", WIDE, 18, a_wide_delta_makes_the_first_attempt_right),
    Case("03", RIGHT, 18, without_a_mistake_nothing_is_found),
]
