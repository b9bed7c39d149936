from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import optim

from labkit.core.errors import RecipeError
from labkit.recipe.recipe import Recipe
from labkit.recipe.schedules import SCHEDULES, Schedule, factors
from labkit.training.session import Session
from labkit.training.trainer import fit
from tests.recipe.plain_torch import DECAY, LR, by_hand, recipe_for, trained


def falling_cosine(t: int, length: int, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * t / length)) / 2


def warmup_cosine(t: int, steps: int, warmup: float, final: float) -> float:
    span = max(1, round(warmup * steps))
    return (t + 1) / (span + 1) if t < span else falling_cosine(t - span, steps - span, final)


def triangle(t: int, steps: int, cycles: int, low: float) -> float:
    half = steps // (2 * cycles)
    return 1 - (1 - low) * abs(t % (2 * half) - half) / half


def one_cycle(steps: int, warmup: float) -> list[float]:
    """Torch's own, driving a real optimizer."""
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LR, total_steps=steps + 1, pct_start=warmup, cycle_momentum=False
    )
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"] / LR)
        optimizer.step()
        scheduler.step()
    return rates


# (schedule, arguments) -> factor at update t (from 0) of a run of so many steps
FORMULAS = [
    ("constant", {}, lambda t, steps: 1.0),
    ("linear_warmup", {}, lambda t, steps: min(1.0, (t + 1) / (round(0.1 * steps) + 1))),
    ("linear_warmup", {"warmup": 0.5}, lambda t, steps: min(1.0, (t + 1) / (steps // 2 + 1))),
    ("step", {}, lambda t, steps: 0.3 ** (t // (steps // 4))),
    ("step", {"drops": 1, "gamma": 0.5}, lambda t, steps: 1.0 if t < steps // 2 else 0.5),
    ("exponential", {}, lambda t, steps: 0.01 ** (t / steps)),
    ("exponential", {"final": 0.5}, lambda t, steps: 0.5 ** (t / steps)),
    ("cosine", {}, lambda t, steps: falling_cosine(t, steps, 0.0)),
    ("cosine", {"final": 0.25}, lambda t, steps: falling_cosine(t, steps, 0.25)),
    ("warmup_cosine", {}, lambda t, steps: warmup_cosine(t, steps, 0.1, 0.0)),
    (
        "warmup_cosine",
        {"warmup": 0.4, "final": 0.2},
        lambda t, steps: warmup_cosine(t, steps, 0.4, 0.2),
    ),
    ("one_cycle", {}, lambda t, steps: one_cycle(steps, 0.3)[t]),
    ("one_cycle", {"warmup": 0.6}, lambda t, steps: one_cycle(steps, 0.6)[t]),
    ("cyclic", {}, lambda t, steps: triangle(t, steps, 4, 0.1)),
    ("cyclic", {"cycles": 2, "low": 0.5}, lambda t, steps: triangle(t, steps, 2, 0.5)),
    ("polynomial", {}, lambda t, steps: 1 - t / steps),
    ("polynomial", {"power": 2.5}, lambda t, steps: (1 - t / steps) ** 2.5),
    # it is the loss that moves it: see below
    ("plateau", {"patience": 1000}, lambda t, steps: 1.0),
]
IDS = [f"{name}-{arguments}" for name, arguments, _ in FORMULAS]


SMALL = Recipe(task="blobs", samples=40, hidden=(2,), batch_size=28, lr=LR, device="cpu")


def test_every_schedule_has_a_formula():
    assert set(SCHEDULES) <= {name for name, _, _ in FORMULAS}, "a new schedule needs one here"


@pytest.mark.parametrize(("name", "arguments", "formula"), FORMULAS, ids=IDS)
def test_the_recorded_learning_rate_follows_the_formula(name, arguments, formula):
    steps = 80
    history = fit(SMALL.replace(schedule=name, schedule_args=arguments, steps=steps))
    numbers, rates = history.curve("lr")
    assert numbers.tolist() == list(range(1, steps + 1))
    expected = [LR * formula(t, steps) for t in range(steps)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("name", "arguments", "formula"), FORMULAS, ids=IDS)
def test_a_live_change_of_the_learning_rate_keeps_the_shape(name, arguments, formula):
    steps = 48
    session = Session(SMALL.replace(schedule=name, schedule_args=arguments, steps=steps))
    session.step(20)
    session.update(session.recipe.replace(lr=0.5))
    session.step(28)
    _, rates = session.history.curve("lr")
    expected = [(LR if t < 20 else 0.5) * formula(t, steps) for t in range(steps)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "step", "exponential"])
def test_the_schedule_reaches_the_optimizer(name):
    """Weights, not only the recorded rate, are those of a scheduled torch optimizer."""
    recipe = recipe_for("sgd", schedule=name)
    makers = {
        "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 25),
        "one_cycle": lambda o: optim.lr_scheduler.OneCycleLR(
            o, max_lr=LR, total_steps=26, cycle_momentum=False
        ),
        "step": lambda o: optim.lr_scheduler.StepLR(o, 25 // 4, 0.3),
        "exponential": lambda o: optim.lr_scheduler.ExponentialLR(o, 0.01 ** (1 / 25)),
    }
    expected = by_hand(
        recipe, lambda params: optim.SGD(params, lr=LR, weight_decay=DECAY), makers[name]
    )
    torch.testing.assert_close(trained(recipe), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(expected, trained(recipe_for("sgd")), atol=1e-4)


def test_plateau_waits_for_patience_and_then_drops():
    schedule = Schedule("plateau", 100, {"patience": 3, "gamma": 0.5})
    seen = []
    for _ in range(10):
        seen.append(schedule.factor)
        schedule.advance(1.0)
    # The first loss is the best; the fourth after it is one too many.
    assert seen == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_plateau_leaves_a_falling_loss_alone():
    schedule = Schedule("plateau", 100, {"patience": 3})
    for t in range(50):
        schedule.advance(1 / (t + 1))
    assert schedule.factor == 1.0


def test_plateau_drops_in_a_run_that_stalls():
    """Full batches at the smallest rate: the loss stays where it is."""
    stuck = SMALL.replace(lr=1e-5, optimizer="sgd", init="zeros", steps=36)
    history = fit(stuck.replace(schedule="plateau", schedule_args={"patience": 10}))
    _, losses = history.curve("loss")
    assert np.ptp(losses) < 1e-4 * losses[0]
    _, rates = history.curve("lr")
    assert rates.tolist() == [1e-5] * 12 + [5e-6] * 11 + [2.5e-6] * 11 + [1.25e-6] * 2


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 19, 50])
def test_factors_are_sane_at_the_limits_of_every_argument(name, steps):
    parameters = SCHEDULES[name].parameters()
    options = [
        {p.default, p.low, p.high, *({0.05, 0.1, 0.2, 0.25, 0.5} if p.high == 0.99 else ())}
        for p in parameters.values()
    ]
    for values in itertools.product(*options):
        arguments = dict(zip(parameters, values, strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            curve = list(factors(name, steps, arguments))
        assert len(curve) == steps
        assert all(-1e-12 <= value <= 1 + 1e-12 for value in curve), (arguments, curve)


def test_an_unknown_schedule():
    with pytest.raises(RecipeError, match=r"did you mean 'cosine'\?"):
        Schedule("cosin", 10)
