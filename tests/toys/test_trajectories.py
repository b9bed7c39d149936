from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import optim

from labkit.core.errors import LabError
from labkit.recipe.optimize import OPTIMIZERS
from labkit.toys import trajectories as walks
from labkit.toys.surfaces import Surface, surface
from labkit.toys.trajectories import RATES, check, tune, walk

START, LR, STEPS = (-1.0, 0.7), 0.02, 12
WALKERS = [name for name in OPTIMIZERS if name != "muon"]


def ravine(point: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and slope of the ravine with condition number 10, by hand."""
    return float(point @ (point * [1, 10])) / 2, point * [1, 10]


TEN = surface("ravine", condition=10)


# --- paths -----------------------------------------------------------------------------


def test_gradient_descent_by_hand():
    found = walk(TEN, "sgd", 0.05, steps=STEPS, start=START)
    point = np.array(START)
    for step in range(STEPS + 1):
        loss, slope = ravine(point)
        np.testing.assert_allclose(found.path[step], point)
        assert found.losses[step] == pytest.approx(loss)
        np.testing.assert_allclose(found.gradients[step], slope)
        point = point - 0.05 * slope
    assert (found.steps, found.evaluations, found.diverged) == (STEPS, STEPS + 1, None)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("momentum", lambda p: optim.SGD(p, LR, momentum=0.9)),
        ("adam", lambda p: optim.Adam(p, LR)),
        ("rmsprop", lambda p: optim.RMSprop(p, LR)),
        ("lbfgs", lambda p: optim.LBFGS(p, LR, 5, history_size=10, line_search_fn="strong_wolfe")),
    ],
)
def test_paths_are_those_of_torchs_own_optimizers(name, make):
    found = walk("beale", name, LR, steps=STEPS, start=(1.0, 0.7))
    weights = torch.tensor((1.0, 0.7), dtype=torch.float64, requires_grad=True)
    optimizer = make([weights])

    def closure():
        optimizer.zero_grad()
        x, y = weights
        loss = sum((c - x + x * y**k) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))
        loss.backward()
        return loss

    for step in range(STEPS):
        optimizer.step(closure)
        np.testing.assert_allclose(found.path[step + 1], weights.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", WALKERS)
def test_every_optimizer_walks_and_remembers(name):
    found = walk(TEN, name, LR, steps=STEPS)
    assert found.path.shape == found.gradients.shape == (STEPS + 1, 2)
    assert not np.array_equal(found.path[0], found.path[1])
    assert found.evaluations >= STEPS + 1
    for memory in found.state.values():
        assert memory.shape == (STEPS + 1, 2)
        assert not np.nan_to_num(memory[0]).any(), (
            "before the first step there is nothing to remember"
        )
        assert np.isfinite(memory[2:]).all()


def test_muon_says_why_it_cannot():
    for call in (
        lambda: walk("ravine", "muon", 0.1),
        lambda: check("muon"),
        lambda: tune(TEN, "muon"),
    ):
        with pytest.raises(LabError, match=r"muon cannot walk here: .*matrix.*choose adamw"):
            call()


def test_arguments_and_schedules_reach_the_optimizer():
    one = walk(TEN, "momentum", LR, steps=STEPS, optimizer_args={"momentum": 0.0})
    np.testing.assert_allclose(one.path, walk(TEN, "sgd", LR, steps=STEPS).path)
    two = walk(TEN, "sgd", 0.05, steps=8, start=START, schedule="polynomial")
    point = np.array(START)
    for step in range(8):
        point = point - 0.05 * (1 - step / 8) * ravine(point)[1]
        np.testing.assert_allclose(two.path[step + 1], point)


def test_a_function_of_ones_own_walks_too():
    def mine(weights, gradient, state, lr):
        state["v"] = 0.9 * state.get("v", 0) + gradient
        return weights - lr * state["v"]

    found = walk(TEN, mine, LR, steps=STEPS)
    np.testing.assert_allclose(found.path, walk(TEN, "momentum", LR, steps=STEPS).path)
    assert found.optimizer == "mine"


# --- what they remember ----------------------------------------------------------------


def test_momentums_velocity_adds_up():
    found = walk(TEN, "momentum", LR, steps=STEPS)
    velocity = np.zeros(2)
    for step in range(STEPS):
        velocity = 0.9 * velocity + found.gradients[step]
        np.testing.assert_allclose(found.state["momentum_buffer"][step + 1], velocity)
        np.testing.assert_allclose(found.state["mean"][step + 1], velocity)
    np.testing.assert_allclose(np.diff(found.path, axis=0), -LR * found.state["mean"][1:])
    assert (found.state["effective_lr"][1:] == LR).all()


def test_adams_two_memories_by_the_paper():
    """Kingma & Ba 2015, algorithm 1."""
    found = walk("beale", "adam", LR, steps=STEPS)
    m = v = np.zeros(2)
    for t, gradient in enumerate(found.gradients[:-1], start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        np.testing.assert_allclose(found.state["exp_avg"][t], m)
        np.testing.assert_allclose(found.state["exp_avg_sq"][t], v)
        unbiased = np.sqrt(v / (1 - 0.999**t))
        np.testing.assert_allclose(found.state["mean"][t], m / (1 - 0.9**t))
        np.testing.assert_allclose(found.state["root"][t], unbiased)
        np.testing.assert_allclose(found.state["effective_lr"][t], LR / (unbiased + 1e-8))


@pytest.mark.parametrize("name", ["adam", "adamw", "radam", "adamax"])
def test_the_step_is_the_factor_times_the_mean(name):
    arguments = {"beta2": 0.9} if name == "radam" else {}  # so that it is rectified soon
    steps = 60
    found = walk("beale", name, LR, steps=steps, optimizer_args=arguments)
    taken = -np.diff(found.path, axis=0)
    factor, mean = found.state["effective_lr"][1:], found.state["mean"][1:]
    np.testing.assert_allclose(taken, factor * mean, rtol=1e-6, atol=1e-12)
    if name == "radam":
        assert (factor[:3] == LR).all(), "plain momentum at first"
        assert (factor[-1] != LR).all()


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "asgd"])
def test_the_step_is_the_factor_times_the_gradient(name):
    found = walk("beale", name, LR, steps=STEPS)
    taken = -np.diff(found.path, axis=0)
    factor = found.state["effective_lr"][1:]
    # ASGD also shrinks the weights by lambd * eta = 2e-6 of themselves.
    tolerance = 1e-4 if name == "asgd" else 1e-12
    np.testing.assert_allclose(taken, factor * found.gradients[:-1], rtol=1e-6, atol=tolerance)


def test_methods_without_such_a_factor_have_none():
    for name in ("lbfgs", "rprop", "adadelta", "adafactor"):
        assert "effective_lr" not in walk("beale", name, LR, steps=3).state


# --- ends ------------------------------------------------------------------------------


def test_a_walk_that_diverges_stops_and_says_when():
    """SGD on y multiplies by 1 - lr·κ = -2: the loss grows fourfold a step."""
    found = walk(TEN, "sgd", 0.3, steps=100, start=(0.0, 1.0))
    expected = next(k for k in range(100) if 5 * 4.0**k > TEN.far)
    assert found.diverged == expected
    assert found.steps == expected - 1
    assert np.isfinite(found.path).all()
    assert found.message == f"diverged: step {expected} left the map for good"
    assert found.arrival(1e9) is None


def test_infinities_do_not_escape():
    found = walk("rosenbrock", "sgd", 10.0, steps=50)
    assert found.diverged is not None
    assert np.isfinite(found.losses).all()


def test_arrival_is_for_good():
    found = walk(TEN, "momentum", 0.05, steps=200)
    at = found.arrival(0.01)
    assert at is not None
    assert (found.losses[at:] <= 0.01).all()
    assert found.losses[at - 1] > 0.01
    assert found.arrival(-1.0) is None
    assert found.arrival(1e9) == 0


def test_what_a_learner_does_wrong_names_the_step():
    def forgetful(weights, gradient, state, lr):
        state["t"] = state.get("t", 0) + 1
        return None if state["t"] == 3 else weights - lr * gradient

    with pytest.raises(LabError, match=r"^Step 3: your function returned nothing"):
        walk(TEN, forgetful, 0.01)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: walk("ravin", "sgd", 0.1), "did you mean 'ravine'"),
        (lambda: walk(TEN, "sdg", 0.1), "did you mean 'sgd'"),
        (lambda: walk(TEN, "sgd", -0.1), "lr=-0.1 is not allowed"),
        (lambda: walk(TEN, "sgd", math.nan), "lr=nan is not allowed"),
        (lambda: walk(TEN, "sgd", 0.1, steps=0), "steps=0 is not allowed"),
        (lambda: walk(TEN, "sgd", 0.1, start=(math.inf, 0)), "is not a place"),
        (lambda: walk(TEN, "sgd", 0.1, start=(1e9, 0)), "too far away"),
        (lambda: walk(TEN, "adam", 0.1, optimizer_args={"beta3": 1}), "did you mean 'beta"),
        (lambda: walk(TEN, 3, 0.1), "a step is a function"),
    ],
)
def test_mistakes_are_answered(call, part):
    with pytest.raises(LabError, match=part):
        call()


# --- fair learning rates ---------------------------------------------------------------


def test_the_best_rate_of_gradient_descent_in_a_bowl():
    """With curvature 1 everywhere one step of lr 1 arrives."""
    bowl = surface("ravine", condition=1)
    assert tune(bowl, "sgd", steps=30) == 1.0


def test_the_best_rate_in_a_ravine_lies_where_both_directions_shrink_alike():
    """The optimum 2 / (1 + κ) of a fixed number of steps, between two of the rates tried."""
    best = tune(TEN, "sgd", steps=60, start=(1.0, 1.0))
    below, above = (2 / 11) / 1.3, (2 / 11) * 1.3
    assert below < best < above
    assert best in RATES


@pytest.mark.parametrize("name", ["momentum", "adam", "nadam", "rmsprop"])
def test_rates_tried_together_are_those_tried_one_by_one(name):
    ground = Surface("beale")
    args = (ground, name, RATES[::6], 40, ground.start, {})
    together, alone = walks._together(*args), np.array(list(walks._one_by_one(*args)))
    assert np.isfinite(alone).any(axis=1).all()
    np.testing.assert_array_equal(np.isfinite(together), np.isfinite(alone))
    whole = np.isfinite(alone)
    np.testing.assert_allclose(together[whole], alone[whole], rtol=1e-3, atol=1e-9)


def test_without_a_rate_a_walk_takes_the_best():
    for optimizer in ("momentum", "rprop"):
        found = walk(TEN, optimizer, steps=40)
        assert found.lr == tune(TEN, optimizer, steps=40)
        others = [walk(TEN, optimizer, lr, steps=40) for lr in (1e-4, 8.0)]
        last = [one.losses[-4:].mean() for one in others if one.diverged is None]
        assert found.losses[-4:].mean() <= min(last, default=math.inf)
