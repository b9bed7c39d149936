from __future__ import annotations

import itertools

import pytest
import torch
from torch import optim

from labkit.core.errors import RecipeError
from labkit.recipe.optimize import OPTIMIZERS, build
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import Trainer, fit, initial_network
from tests.recipe.plain_torch import DECAY, LR, by_hand, recipe_for, trained


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
