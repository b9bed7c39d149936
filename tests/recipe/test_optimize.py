from __future__ import annotations

import itertools
import math
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.nn import functional

from labkit.core.errors import RecipeError
from labkit.recipe.networks import NETWORKS
from labkit.recipe.optimize import OPTIMIZERS, SCHEDULES, Schedule, advice, build, factors
from labkit.recipe.recipe import Recipe
from labkit.training.session import Session
from labkit.training.trainer import Trainer, fit, initial_network

LR, DECAY = 0.02, 0.03


def muon(params, momentum=0.95):
    """Muon for matrices, AdamW for the rest."""
    return [
        optim.Muon(
            [p for p in params if p.ndim == 2],
            lr=LR,
            weight_decay=DECAY,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        ),
        optim.AdamW([p for p in params if p.ndim != 2], lr=LR, weight_decay=DECAY),
    ]


def adamlike(kind):
    return (
        lambda params: kind(params, lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY),
        {"beta1": 0.5, "beta2": 0.75, "eps": 1e-3},
        lambda params: kind(params, lr=LR, betas=(0.5, 0.75), eps=1e-3, weight_decay=DECAY),
    )


# name -> torch's constructor with the documented defaults, other arguments, and the
# constructor with those.
TORCH = {
    "sgd": (lambda params: optim.SGD(params, lr=LR, weight_decay=DECAY), {}, None),
    "momentum": (
        lambda params: optim.SGD(params, lr=LR, weight_decay=DECAY, momentum=0.9),
        {"momentum": 0.5},
        lambda params: optim.SGD(params, lr=LR, weight_decay=DECAY, momentum=0.5),
    ),
    "nesterov": (
        lambda params: optim.SGD(params, lr=LR, weight_decay=DECAY, momentum=0.9, nesterov=True),
        {"momentum": 0.5},
        lambda params: optim.SGD(params, lr=LR, weight_decay=DECAY, momentum=0.5, nesterov=True),
    ),
    "adam": adamlike(optim.Adam),
    "adamw": adamlike(optim.AdamW),
    "nadam": adamlike(optim.NAdam),
    "radam": adamlike(optim.RAdam),
    "adamax": adamlike(optim.Adamax),
    "adagrad": (
        lambda params: optim.Adagrad(params, lr=LR, weight_decay=DECAY, eps=1e-10),
        {"eps": 0.125},
        lambda params: optim.Adagrad(params, lr=LR, weight_decay=DECAY, eps=0.125),
    ),
    "adadelta": (
        lambda params: optim.Adadelta(params, lr=LR, weight_decay=DECAY, rho=0.9, eps=1e-6),
        {"rho": 0.5, "eps": 1e-3},
        lambda params: optim.Adadelta(params, lr=LR, weight_decay=DECAY, rho=0.5, eps=1e-3),
    ),
    "rmsprop": (
        lambda params: optim.RMSprop(params, lr=LR, weight_decay=DECAY, alpha=0.99, eps=1e-8),
        {"alpha": 0.5, "momentum": 0.5, "eps": 1e-3},
        lambda params: optim.RMSprop(
            params, lr=LR, weight_decay=DECAY, alpha=0.5, eps=1e-3, momentum=0.5
        ),
    ),
    "asgd": (
        lambda params: optim.ASGD(params, lr=LR, weight_decay=DECAY, lambd=1e-4),
        {"lambd": 0.5},
        lambda params: optim.ASGD(params, lr=LR, weight_decay=DECAY, lambd=0.5),
    ),
    "rprop": (
        lambda params: optim.Rprop(params, lr=LR, etas=(0.5, 1.2)),
        {"grow": 1.5, "shrink": 0.25},
        lambda params: optim.Rprop(params, lr=LR, etas=(0.25, 1.5)),
    ),
    "adafactor": (
        lambda params: optim.Adafactor(params, lr=LR, weight_decay=DECAY, d=1.0),
        {"clip": 2.0},
        lambda params: optim.Adafactor(params, lr=LR, weight_decay=DECAY, d=2.0),
    ),
    "lbfgs": (
        lambda params: optim.LBFGS(
            params, lr=LR, max_iter=5, history_size=10, line_search_fn="strong_wolfe"
        ),
        {"iterations": 3, "history": 2},
        lambda params: optim.LBFGS(
            params, lr=LR, max_iter=3, history_size=2, line_search_fn="strong_wolfe"
        ),
    ),
    "muon": (muon, {"momentum": 0.5}, lambda params: muon(params, momentum=0.5)),
}

CASES = [
    pytest.param(name, arguments, make, id=f"{name}-{arguments}" if arguments else name)
    for name, (by_default, others, with_others) in TORCH.items()
    for arguments, make in [({}, by_default), *([(others, with_others)] if others else [])]
]


def recipe_for(name: str, **changes) -> Recipe:
    decays = OPTIMIZERS[name].traits.get("weight_decay", True)
    return Recipe(
        task="blobs",
        samples=90,
        hidden=(6,),
        batch_size=16,
        steps=25,
        optimizer=name,
        lr=LR,
        weight_decay=DECAY if decays else 0.0,
        seed=4,
        device="cpu",
        **changes,
    )


def by_hand(recipe: Recipe, make, schedule=None) -> torch.Tensor:
    """Plain PyTorch: the same start, the same batches, torch's own optimizer."""
    network, data = initial_network(recipe), recipe.data()
    made = make(list(network.parameters()))
    optimizers = made if isinstance(made, list) else [made]
    scheduler = schedule(optimizers[0]) if schedule else None
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    batches: list[torch.Tensor] = []
    for _ in range(recipe.steps):
        if not batches:
            order = torch.randperm(len(data.train_inputs), generator=generator)
            batches = list(order.split(recipe.batch_size))
        batch = batches.pop(0)

        def closure(batch: torch.Tensor = batch) -> torch.Tensor:
            for optimizer in optimizers:
                optimizer.zero_grad()
            outputs = network(data.train_inputs[batch])
            loss = functional.cross_entropy(outputs, data.train_targets[batch])
            loss.backward()
            return loss

        closure()
        for optimizer in optimizers:
            optimizer.step(closure if isinstance(optimizer, optim.LBFGS) else None)
        if scheduler is not None:
            scheduler.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def trained(recipe: Recipe) -> torch.Tensor:
    trainer = Trainer(recipe)
    while not trainer.finished:
        trainer.advance()
    assert trainer.step == recipe.steps
    return trainer.flat


# --- optimizers ------------------------------------------------------------------------


def test_every_optimizer_has_an_oracle():
    assert set(OPTIMIZERS) <= set(TORCH), "a new optimizer needs a row in TORCH"
    for name, (_, others, _) in TORCH.items():
        assert set(others) == set(OPTIMIZERS[name].parameters()), name


@pytest.mark.parametrize(("name", "arguments", "make"), CASES)
def test_weights_are_those_of_torchs_own_optimizer(name, arguments, make):
    recipe = recipe_for(name, optimizer_args=arguments)
    ours, theirs = trained(recipe), by_hand(recipe, make)
    moved = (theirs - torch.cat([p.flatten() for p in initial_network(recipe).parameters()])).norm()
    assert moved > 1e-3, "the comparison means nothing where nothing moves"
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, (_, others, _) in TORCH.items() if others])
def test_arguments_change_the_weights(name):
    one, other = (
        trained(recipe_for(name, optimizer_args=arguments)) for arguments in ({}, TORCH[name][1])
    )
    assert not torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_acts_unless_it_is_refused(name):
    if not OPTIMIZERS[name].traits.get("weight_decay", True):
        with pytest.raises(RecipeError, match="has no weight decay"):
            recipe_for(name).replace(weight_decay=0.1)
        return
    recipe = recipe_for(name)
    assert not torch.allclose(trained(recipe), trained(recipe.replace(weight_decay=0.0)), atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_the_easiest_task(name):
    lr = {"adadelta": 1.0, "sgd": 0.3, "asgd": 0.3, "lbfgs": 1.0}.get(name, 0.03)
    history = fit(recipe_for(name).replace(lr=lr, steps=150, batch_size=63, weight_decay=0.0))
    assert history.summary()["train_accuracy"] > 0.9


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_argument_may_go_to_its_limits(name):
    """Torch accepts what labkit's sliders allow, and one step leaves finite weights."""
    parameters = OPTIMIZERS[name].parameters()
    options = [(p.low, p.high) for p in parameters.values()]
    for values in itertools.product(*options):
        arguments = dict(zip(parameters, values, strict=True))
        trainer = Trainer(recipe_for(name, optimizer_args=arguments))
        assert trainer.advance() is not None, arguments
        assert torch.isfinite(trainer.flat).all(), arguments


def test_muon_takes_the_matrices_and_adamw_the_rest():
    network = initial_network(Recipe(task="digits", network="cnn", hidden=(4,)))
    named = dict(network.named_parameters())
    first, second = build("muon", list(named.values()), 0.01)
    assert (type(first), type(second)) == (optim.Muon, optim.AdamW)

    def names(optimizer):
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return {name for name, p in named.items() if id(p) in held}

    assert names(first) == {"output.weight"}
    assert names(second) == {"conv1.weight", "conv1.bias", "output.bias"}


def test_muon_without_matrices_or_without_the_rest():
    matrix, bias = torch.zeros(2, 2, requires_grad=True), torch.zeros(2, requires_grad=True)
    assert [type(o) for o in build("muon", [matrix], 0.01)] == [optim.Muon]
    assert [type(o) for o in build("muon", [bias], 0.01)] == [optim.AdamW]


def test_an_unknown_optimizer():
    with pytest.raises(RecipeError, match=r"did you mean 'adam'\?"):
        build("adamm", [], 0.01)


# --- advice ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lbfgs", "rprop"])
def test_minibatches_where_a_full_batch_is_wanted(name):
    recipe = recipe_for(name)
    samples = len(recipe.data().train_inputs)
    (note,) = advice(recipe)
    assert note.startswith(f"{name} with minibatches of 16: ")
    assert note.endswith(f"batch_size={samples}.")
    assert advice(recipe.replace(batch_size=samples)) == []
    assert advice(recipe.replace(batch_size=samples - 1)) != []


def test_a_schedule_does_nothing_for_rprop_as_the_advice_says():
    recipe = recipe_for("rprop").replace(batch_size=63, schedule="exponential")
    (note,) = advice(recipe)
    assert "the schedule exponential does nothing" in note
    torch.testing.assert_close(trained(recipe), trained(recipe.replace(schedule="constant")))
    other = recipe.replace(optimizer="momentum")
    assert not torch.allclose(trained(other), trained(other.replace(schedule="constant")))
    assert advice(other) == []


def test_kernels_are_no_matrices():
    recipe = Recipe(task="digits", network="cnn", hidden=(4, 6), optimizer="muon")
    (note,) = advice(recipe)
    assert "output.weight alone" in note
    assert "left to adamw: conv1.weight (4-D), conv2.weight (4-D), and the biases" in note
    assert advice(recipe.replace(network="mlp")) == []


def test_a_network_without_any_matrix_leaves_nothing_to_muon(enter):
    def pooled(hidden, activation, data):
        kernels = nn.Conv2d(1, data.outputs, 3)
        return nn.Sequential(
            OrderedDict(conv1=kernels, pool=nn.AdaptiveMaxPool2d(1), flat=nn.Flatten())
        )

    enter(NETWORKS, "pooled", images_only=True)(pooled)
    (note,) = advice(Recipe(task="digits", network="pooled", optimizer="muon"))
    assert "adamw does all the work" in note


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"lbfgs", "rprop"}))
def test_most_combinations_need_no_advice(name):
    assert advice(Recipe(optimizer=name, schedule="cosine")) == []


# --- schedules -------------------------------------------------------------------------


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
    expected = by_hand(recipe, TORCH["sgd"][0], makers[name])
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
