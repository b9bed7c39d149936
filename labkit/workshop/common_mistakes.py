"""Common mistakes in a hand-written optimizer, as functions that make them.

A check runs a learner's `step` beside torch's optimizer. Where the weights differ, it runs
these as well: the one that gives the learner's weights shows what happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from labkit.recipe.optimize import OPTIMIZERS
from labkit.training.custom_optimizer import Step

State = dict[str, Any]


def common_mistakes(
    like: str, arguments: Mapping[str, Any], decay: float
) -> Iterator[tuple[str, Step]]:
    """Wrong variants of an optimizer: a hint for the learner, and a step with that mistake.

    Args:
        like: a name in `OPTIMIZERS`; every one has the general mistakes.
        arguments: of that optimizer; those not given have their defaults.
        decay: the weight decay.
    """
    own = {name: p.default for name, p in OPTIMIZERS[like].parameters().items()} | dict(arguments)
    yield "Your weights never move.", lambda w, g, state, lr: w.clone()
    if like != "sgd":
        yield (
            "These are the weights of plain SGD: nothing is remembered from step to step. Keep "
            "it in `state`, and use what you kept.",
            lambda w, g, state, lr: w - lr * g,
        )
    else:
        yield (
            "You go uphill: the step must be taken *against* the gradient. Check the sign.",
            lambda w, g, state, lr: w + lr * (g + decay * w),
        )
        yield "The learning rate is missing.", lambda w, g, state, lr: w - (g + decay * w)
        yield (
            "Only the gradient's sign is used: its size should count as well.",
            lambda w, g, state, lr: w - lr * g.sign(),
        )
    if like in ("momentum", "nesterov"):
        yield from _of_momentum(own["momentum"], decay, like == "nesterov")
    if like in ("adam", "adamw"):
        yield from _of_adam(own["beta1"], own["beta2"], own["eps"], decay, like == "adamw")
    if like == "rmsprop":
        yield from _of_rmsprop(own["alpha"], own["eps"])
    if like == "adagrad":
        yield from _of_adagrad(own["eps"])
    if decay and like in ("sgd", "momentum", "nesterov"):
        yield (
            "The weight decay is missing: add `weight_decay * weights` to the gradient.",
            _momentum(own.get("momentum", 0.0), 0.0, ahead=like == "nesterov"),
        )


def _of_momentum(mu: float, decay: float, ahead: bool) -> Iterator[tuple[str, Step]]:
    make: dict[str, Any] = {"mu": mu, "decay": decay, "ahead": ahead}
    yield "You go uphill: check the sign of the step.", _momentum(**make, sign=-1)
    yield (
        "The new gradient is multiplied by (1 - momentum), as in a running mean (torch calls that "
        "dampening). Here the whole gradient is added: v = momentum·v + gradient.",
        _momentum(**make, share=1 - mu),
    )
    yield (
        "The velocity never decays: multiply the old one by `momentum`.",
        _momentum(1.0, decay, ahead=ahead),
    )
    yield (
        "The factor `momentum` is on the gradient; it belongs on the old velocity.",
        _momentum(1.0, decay, share=mu, ahead=ahead),
    )
    yield (
        "The step uses the velocity of *before* this gradient: update it first, then step.",
        _momentum(mu, decay, late=True),
    )
    yield (
        "The learning rate is applied twice: once in the velocity and once in the step.",
        lambda w, g, state, lr: _momentum(**make)(w, g, state, lr * lr),
    )
    yield (
        "The learning rate is missing.",
        lambda w, g, state, lr: _momentum(**make)(w, g, state, 1.0),
    )
    if ahead:
        yield (
            "This is ordinary momentum: Nesterov's step looks ahead, by gradient + momentum·v.",
            _momentum(mu, decay),
        )
    else:
        yield (
            "This is Nesterov's momentum: the step is along v alone, without looking ahead.",
            _momentum(mu, decay, ahead=True),
        )


def _momentum(
    mu: float,
    decay: float = 0.0,
    *,
    share: float = 1.0,
    sign: float = 1.0,
    late: bool = False,
    ahead: bool = False,
) -> Step:
    def step(w: Tensor, g: Tensor, state: State, lr: float) -> Tensor:
        g = g + decay * w
        old = state.get("v", torch.zeros_like(w))
        v = state["v"] = mu * old + share * g
        way = old if late else g + mu * v if ahead else v
        return w - sign * lr * way

    return step


def _of_adam(
    beta1: float, beta2: float, eps: float, decay: float, decoupled: bool
) -> Iterator[tuple[str, Step]]:
    make: dict[str, Any] = {
        "beta1": beta1,
        "beta2": beta2,
        "eps": eps,
        "decay": decay,
        "decoupled": decoupled,
    }
    yield "You go uphill: check the sign of the step.", _adam(**make, sign=-1)
    yield (
        "The bias correction is missing: m and v start at 0, so divide them by 1 - β1ᵗ and "
        "1 - β2ᵗ.",
        _adam(**make, correct_m=False, correct_v=False),
    )
    yield "m lacks its bias correction: m / (1 - β1ᵗ).", _adam(**make, correct_m=False)
    yield "v lacks its bias correction: v / (1 - β2ᵗ).", _adam(**make, correct_v=False)
    yield (
        "ε is inside the root. It belongs outside: √v̂ + ε. (With gradients of ordinary "
        "size it makes no difference; with tiny ones it does.)",
        _adam(**make, inside=True),
    )
    yield (
        "ε is added to √v before the bias correction: first v̂ = v / (1 - β2ᵗ), then √v̂ + ε.",
        _adam(**make, early=True),
    )
    yield "ε is missing: divide by √v̂ + ε.", _adam(**make | {"eps": 0.0})
    yield "The root is missing: divide by √v̂ + ε, not by v̂ + ε.", _adam(**make, power=1.0)
    yield (
        "β1 and β2 are swapped: β1 belongs to m, β2 to v.",
        _adam(**make | {"beta1": beta2, "beta2": beta1}),
    )
    yield (
        "The step counter starts too high: at the first step t is 1.",
        _adam(**make, first=2),
    )
    yield (
        "The step counter does not count: t must grow by 1 at each step. Keep it in `state`.",
        _adam(**make, counts=False),
    )
    yield (
        "m is not used: the step is along m̂, the running mean, not along the newest gradient.",
        _adam(**make | {"beta1": 0.0}),
    )
    yield (
        "v must average the *squared* gradient: v = β2·v + (1 - β2)·gradient².",
        _adam(**make, squared=False),
    )
    yield (
        "The shares are the wrong way round: β of the old value, 1 - β of the new one.",
        _adam(**make | {"beta1": 1 - beta1, "beta2": 1 - beta2}),
    )
    yield (
        "The shares 1 - β are missing: m = β1·m + (1 - β1)·gradient, and v likewise.",
        _adam(**make, whole=True),
    )
    if decay:
        yield (
            "The weight decay is missing.",
            _adam(**make | {"decay": 0.0}),
        )
        if decoupled:
            yield (
                "Your weight decay goes through the gradient, and so through m and v: that is "
                "Adam. AdamW decouples it: w ← w - lr·weight_decay·w, beside the step.",
                _adam(**make | {"decoupled": False}),
            )
            yield (
                "The decay lacks the learning rate: w ← w - lr·weight_decay·w.",
                _adam(**make, rateless=True),
            )
        else:
            yield (
                "Your weight decay is decoupled, as in AdamW. Adam adds weight_decay·weights to "
                "the gradient, before m and v see it.",
                _adam(**make | {"decoupled": True}),
            )


def _adam(
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    decoupled: bool,
    *,
    sign: float = 1.0,
    correct_m: bool = True,
    correct_v: bool = True,
    inside: bool = False,
    early: bool = False,
    power: float = 0.5,
    first: int = 1,
    counts: bool = True,
    squared: bool = True,
    whole: bool = False,
    rateless: bool = False,
) -> Step:
    def step(w: Tensor, g: Tensor, state: State, lr: float) -> Tensor:
        t = state["t"] = state.get("t", first - 1) + 1
        t = t if counts else 1
        if decoupled:
            w = w - (1.0 if rateless else lr) * decay * w
        else:
            g = g + decay * w
        zero = torch.zeros_like(w)
        new = (1.0, 1.0) if whole else (1 - beta1, 1 - beta2)
        m = state["m"] = beta1 * state.get("m", zero) + new[0] * g
        v = state["v"] = beta2 * state.get("v", zero) + new[1] * (g * g if squared else g.abs())
        up = m / (1 - beta1**t) if correct_m and beta1 else m
        if early:
            down = (v.sqrt() + eps) / (1 - beta2**t) ** 0.5
        else:
            down = v / (1 - beta2**t) if correct_v else v
            down = (down + eps).sqrt() if inside else down**power + eps
        return w - sign * lr * up / down

    return step


def _of_rmsprop(alpha: float, eps: float) -> Iterator[tuple[str, Step]]:
    def make(a: float = alpha, inside: bool = False, power: float = 0.5, sign: float = 1) -> Step:
        def step(w: Tensor, g: Tensor, state: State, lr: float) -> Tensor:
            v = state["v"] = a * state.get("v", torch.zeros_like(w)) + (1 - a) * g * g
            return w - sign * lr * g / ((v + eps).sqrt() if inside else v**power + eps)

        return step

    yield "You go uphill: check the sign of the step.", make(sign=-1)
    yield "ε is inside the root. It belongs outside: √v + ε.", make(inside=True)
    yield "The root is missing: divide by √v + ε.", make(power=1.0)
    yield (
        "The shares are the wrong way round: α of the old v, 1 - α of the new g².",
        make(1 - alpha),
    )
    yield "v is not kept: this divides by the newest gradient's size alone.", make(0.0)


def _of_adagrad(eps: float) -> Iterator[tuple[str, Step]]:
    def make(adds: bool = True, inside: bool = False, power: float = 0.5, sign: float = 1) -> Step:
        def step(w: Tensor, g: Tensor, state: State, lr: float) -> Tensor:
            v = state["v"] = (state.get("v", 0.0) if adds else 0.0) + g * g
            return w - sign * lr * g / ((v + eps).sqrt() if inside else v**power + eps)

        return step

    yield "You go uphill: check the sign of the step.", make(sign=-1)
    yield "The squares are not added up: keep their sum in `state`.", make(adds=False)
    yield "ε is inside the root. It belongs outside: √Σg² + ε.", make(inside=True)
    yield "The root is missing: divide by √Σg² + ε.", make(power=1.0)
