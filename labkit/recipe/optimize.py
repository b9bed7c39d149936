"""Optimizers by name, over `torch.optim`.

An OPTIMIZERS entry is `make(params, lr, weight_decay, *, its own arguments)` and returns
a `torch.optim.Optimizer`, or a list of them where parameters need different ones. Its
traits say what it needs: `closure` (it asks for the loss several times a step),
`full_batch` (why it wants one), `matrices` (it does its own work on matrices only),
`first_lr` (later learning rates do nothing), `weight_decay=False` (it has none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor, optim

from labkit.core.parameters import knob
from labkit.core.registry import Registry

OPTIMIZERS = Registry("optimizer")

Params = Sequence[Tensor]
Momentum = Annotated[
    float, knob(0.0, 0.999, step=0.01, help="share of the last step kept in the next")
]
Beta1 = Annotated[float, knob(0.0, 0.999, step=0.01, help="memory of the gradient's mean")]
Beta2 = Annotated[
    float, knob(0.0, 0.9999, step=0.001, help="memory of the squared gradient's mean")
]
Eps = Annotated[float, knob(1e-16, 1.0, scale="log", help="keeps the division finite")]

KINGMA = "Kingma & Ba 2015"


@OPTIMIZERS.register(
    "sgd", formula="w ← w - lr·g", source="Robbins & Monro 1951", elementwise="scaled"
)
def sgd(params: Params, lr: float, weight_decay: float) -> optim.Optimizer:
    """Step down the gradient, nothing else."""
    return optim.SGD(params, lr=lr, weight_decay=weight_decay)


@OPTIMIZERS.register(
    "momentum", formula="v ← μv + g; w ← w - lr·v", source="Polyak 1964", elementwise="scaled"
)
def momentum(
    params: Params, lr: float, weight_decay: float, *, momentum: Momentum = 0.9
) -> optim.Optimizer:
    """Steps add up where gradients agree, as for a heavy ball."""
    return optim.SGD(params, lr=lr, weight_decay=weight_decay, momentum=momentum)


@OPTIMIZERS.register(
    "nesterov", formula="w ← w - lr·(g + μv)", source="Sutskever et al. 2013", elementwise="scaled"
)
def nesterov(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    momentum: Annotated[float, knob(0.01, 0.999, step=0.01, help="share kept")] = 0.9,
) -> optim.Optimizer:
    """Momentum that looks where the ball is about to be."""
    return optim.SGD(params, lr, momentum, weight_decay=weight_decay, nesterov=True)


@OPTIMIZERS.register("adam", formula="w ← w - lr·m̂/(√v̂ + ε)", source=KINGMA, elementwise="scaled")
def adam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    eps: Eps = 1e-8,
) -> optim.Optimizer:
    """Each weight gets a step of its own size, from its gradients' history."""
    return optim.Adam(params, lr, (beta1, beta2), eps, weight_decay)


@OPTIMIZERS.register(
    "adamw",
    formula="Adam; w ← w - lr·λ·w",
    source="Loshchilov & Hutter 2019",
    elementwise="scaled",
    decoupled=True,
)
def adamw(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    eps: Eps = 1e-8,
) -> optim.Optimizer:
    """Adam with weight decay kept out of the gradient's history."""
    return optim.AdamW(params, lr, (beta1, beta2), eps, weight_decay)


@OPTIMIZERS.register(
    "nadam", formula="Adam with Nesterov's look-ahead", source="Dozat 2016", elementwise="scaled"
)
def nadam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    eps: Eps = 1e-8,
) -> optim.Optimizer:
    """Adam whose momentum looks ahead."""
    return optim.NAdam(params, lr, (beta1, beta2), eps, weight_decay)


@OPTIMIZERS.register(
    "radam",
    formula="Adam with a rectified first phase",
    source="Liu et al. 2020",
    elementwise="scaled",
)
def radam(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    eps: Eps = 1e-8,
) -> optim.Optimizer:
    """Adam that waits until its variance estimate can be trusted."""
    return optim.RAdam(params, lr, (beta1, beta2), eps, weight_decay)


@OPTIMIZERS.register(
    "adamax",
    formula="w ← w - lr·m̂/max(|g|…)",
    source=f"{KINGMA}, section 7.1",
    elementwise="scaled",
)
def adamax(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    beta1: Beta1 = 0.9,
    beta2: Beta2 = 0.999,
    eps: Eps = 1e-8,
) -> optim.Optimizer:
    """Adam with the largest recent gradient in the denominator."""
    return optim.Adamax(params, lr, (beta1, beta2), eps, weight_decay)


@OPTIMIZERS.register(
    "adagrad", formula="w ← w - lr·g/√Σg²", source="Duchi et al. 2011", elementwise="scaled"
)
def adagrad(params: Params, lr: float, weight_decay: float, *, eps: Eps = 1e-10) -> optim.Optimizer:
    """Steps shrink with all gradients ever seen."""
    return optim.Adagrad(params, lr, weight_decay=weight_decay, eps=eps)


@OPTIMIZERS.register(
    "adadelta", formula="w ← w - lr·g·RMS(Δw)/RMS(g)", source="Zeiler 2012", elementwise="scaled"
)
def adadelta(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    rho: Annotated[float, knob(0.0, 0.999, step=0.01, help="memory of both averages")] = 0.9,
    eps: Eps = 1e-6,
) -> optim.Optimizer:
    """Adapts its own step size; learning rates near 1 suit it."""
    return optim.Adadelta(params, lr, rho, eps, weight_decay)


@OPTIMIZERS.register(
    "rmsprop", formula="w ← w - lr·g/√E[g²]", source="Hinton 2012, lecture 6e", elementwise="scaled"
)
def rmsprop(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    alpha: Annotated[float, knob(0.0, 0.999, step=0.01, help="memory of g²")] = 0.99,
    momentum: Momentum = 0.0,
    eps: Eps = 1e-8,
) -> optim.Optimizer:
    """Divides by a running size of the gradient."""
    return optim.RMSprop(params, lr, alpha, eps, weight_decay, momentum)


@OPTIMIZERS.register(
    "asgd",
    formula="SGD and the mean of its path",
    source="Polyak & Juditsky 1992",
    elementwise="own",
)
def asgd(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    lambd: Annotated[float, knob(0.0, 1.0, step=1e-4, help="decay of the step size")] = 1e-4,
) -> optim.Optimizer:
    """SGD with slowly shrinking steps."""
    return optim.ASGD(params, lr, lambd, weight_decay=weight_decay)


@OPTIMIZERS.register(
    "rprop",
    formula="w ← w - sign(g)·Δ",
    source="Riedmiller & Braun 1993",
    elementwise="own",
    weight_decay=False,
    full_batch="it goes by the gradient's sign, and minibatches flip that by chance",
    first_lr=True,
)
def rprop(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    grow: Annotated[float, knob(1.01, 3.0, step=0.05, help="factor while signs agree")] = 1.2,
    shrink: Annotated[float, knob(0.05, 0.99, step=0.05, help="factor when they flip")] = 0.5,
) -> optim.Optimizer:
    """Only the gradient's sign counts; each weight adapts its own step."""
    return optim.Rprop(params, lr, (shrink, grow))


@OPTIMIZERS.register("adafactor", formula="Adam with v of rank one", source="Shazeer & Stern 2018")
def adafactor(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    clip: Annotated[float, knob(1.0, 10.0, step=0.1, help="largest update, as an RMS")] = 1.0,
) -> optim.Optimizer:
    """Adam's step sizes in a fraction of its memory."""
    return optim.Adafactor(params, lr, weight_decay=weight_decay, d=clip)


@OPTIMIZERS.register(
    "lbfgs",
    formula="w ← w - lr·H⁻¹g",
    source="Liu & Nocedal 1989",
    weight_decay=False,
    closure=True,
    full_batch="it reads curvature from how gradients change, and other samples change them too",
)
def lbfgs(
    params: Params,
    lr: float,
    weight_decay: float,
    *,
    iterations: Annotated[int, knob(1, 50, help="inner iterations per step")] = 5,
    history: Annotated[int, knob(1, 100, help="pairs of (step, gradient change) kept")] = 10,
) -> optim.Optimizer:
    """Curvature from the last few gradients: big, well-aimed steps."""
    # The line search keeps a bad curvature estimate from throwing the weights away.
    return optim.LBFGS(params, lr, iterations, history_size=history, line_search_fn="strong_wolfe")


@OPTIMIZERS.register(
    "muon",
    formula="W ← W - lr·orthogonalized(M)",
    source="Jordan et al. 2024; torch.optim.Muon",
    matrices=True,
)
def muon(
    params: Params, lr: float, weight_decay: float, *, momentum: Momentum = 0.95
) -> list[optim.Optimizer]:
    """Orthogonalized momentum for matrices; AdamW for biases and kernels.

    `match_rms_adamw` gives both the same step size for the same learning rate.
    """
    matrices = [p for p in params if p.ndim == 2]
    others = [p for p in params if p.ndim != 2]
    made: list[optim.Optimizer] = []
    if matrices:
        made.append(
            optim.Muon(matrices, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw")
        )
    if others:
        made.append(optim.AdamW(others, lr, weight_decay=weight_decay))
    return made


def build(
    name: str,
    params: Params,
    lr: float,
    weight_decay: float = 0.0,
    arguments: Mapping[str, Any] | None = None,
) -> list[optim.Optimizer]:
    """The optimizers a recipe asks for (nearly always one).

    Raises:
        RecipeError: an unknown name.
    """
    made = OPTIMIZERS[name].make(params, lr, weight_decay, **(arguments or {}))
    return made if isinstance(made, list) else [made]
