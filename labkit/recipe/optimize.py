"""Optimizers and schedules by name, over `torch.optim`.

An OPTIMIZERS entry is `make(params, lr, weight_decay, *, its own arguments)` and returns
a `torch.optim.Optimizer`, or a list of them where parameters need different ones. Its
traits say what it needs: `closure` (it asks for the loss several times a step),
`full_batch` (why it wants one), `matrices` (it does its own work on matrices only),
`first_lr` (later learning rates do nothing), `weight_decay=False` (it has none).
A SCHEDULES entry is `make(optimizer, steps, *, its own arguments)` and returns a
`torch.optim.lr_scheduler` for an optimizer whose lr is 1, so that what it computes is
the factor on the recipe's learning rate: moving the slider mid-run keeps the shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, optim
from torch.optim import lr_scheduler

from labkit.core.parameters import knob
from labkit.core.registry import Registry

if TYPE_CHECKING:
    from labkit.recipe.recipe import Recipe

OPTIMIZERS = Registry("optimizer")
SCHEDULES = Registry("schedule")

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
    """A heavy ball: steps add up where gradients agree."""
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
    """Finds its own unit for the step; learning rates near 1 suit it."""
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


def advice(recipe: Recipe) -> list[str]:
    """What a person should know about a combination that works, but not as it seems.

    Returns:
        One or two sentences each; nothing where there is nothing to say.
    """
    from labkit.recipe import networks

    name, traits = recipe.optimizer, OPTIMIZERS[recipe.optimizer].traits
    notes = []
    if why := traits.get("full_batch"):
        samples = len(recipe.data().train_inputs)
        if recipe.batch_size < samples:
            notes.append(
                f"{name} with minibatches of {recipe.batch_size}: {why}. It works best with all "
                f"{samples} training samples at once: batch_size={samples}."
            )
    if traits.get("first_lr") and recipe.schedule != "constant":
        notes.append(
            f"{name} takes the learning rate as its very first step size only: the schedule "
            f"{recipe.schedule} does nothing after that."
        )
    if traits.get("matrices"):
        weights = {
            key: p.ndim
            for key, p in networks.build(recipe).named_parameters()
            if key.endswith("weight")
        }
        matrices = [key for key, ndim in weights.items() if ndim == 2]
        others = [f"{key} ({ndim}-D)" for key, ndim in weights.items() if ndim != 2]
        if not matrices:
            notes.append(
                f"{name} moves matrices, and no weight here is one: adamw does all the work. "
                "Choose adamw."
            )
        elif others:
            notes.append(
                f"{name} moves matrices, here {', '.join(matrices)} alone. What is no matrix is "
                f"left to adamw: {', '.join(others)}, and the biases."
            )
    return notes


# --- schedules -----------------------------------------------------------------------

Share = Annotated[float, knob(0.01, 0.99, step=0.01, help="share of all steps")]
Low = Annotated[float, knob(0.0, 1.0, step=0.01, help="lowest factor")]


@SCHEDULES.register("constant", formula="1", source="-")
def constant(optimizer: optim.Optimizer, steps: int) -> None:
    """The learning rate as you set it."""


@SCHEDULES.register("linear_warmup", formula="min(1, t/warm-up)", source="Goyal et al. 2017")
def linear_warmup(
    optimizer: optim.Optimizer, steps: int, *, warmup: Share = 0.1
) -> lr_scheduler.LRScheduler:
    """Starts small and grows to full size."""
    span = max(1, round(warmup * steps))
    return lr_scheduler.LinearLR(optimizer, 1 / (span + 1), total_iters=span)


@SCHEDULES.register("step", formula="γ^⌊t/period⌋", source="torch.optim.lr_scheduler.StepLR")
def step(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    drops: Annotated[int, knob(1, 10, help="number of drops")] = 3,
    gamma: Annotated[float, knob(0.01, 0.99, step=0.01, help="factor at each drop")] = 0.3,
) -> lr_scheduler.LRScheduler:
    """Drops at even intervals."""
    return lr_scheduler.StepLR(optimizer, max(1, steps // (drops + 1)), gamma)


@SCHEDULES.register("exponential", formula="final^(t/T)", source="ExponentialLR")
def exponential(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    final: Annotated[float, knob(1e-4, 1.0, scale="log", help="factor at the end")] = 0.01,
) -> lr_scheduler.LRScheduler:
    """Shrinks by the same share at every step."""
    return lr_scheduler.ExponentialLR(optimizer, final ** (1 / max(1, steps)))


@SCHEDULES.register("cosine", formula="(1 + cos πt/T)/2", source="Loshchilov & Hutter 2017")
def cosine(optimizer: optim.Optimizer, steps: int, *, final: Low = 0.0) -> lr_scheduler.LRScheduler:
    """Half a cosine wave, from full size to the end."""
    return lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps), final)


@SCHEDULES.register("warmup_cosine", formula="warm-up, then cosine", source="Goyal; Loshchilov")
def warmup_cosine(
    optimizer: optim.Optimizer, steps: int, *, warmup: Share = 0.1, final: Low = 0.0
) -> lr_scheduler.LRScheduler:
    """The usual recipe of large models: up in a line, down in a wave."""
    span = max(1, round(warmup * steps))
    up = lr_scheduler.LinearLR(optimizer, 1 / (span + 1), total_iters=span)
    down = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - span), final)
    return lr_scheduler.SequentialLR(optimizer, [up, down], [span])


@SCHEDULES.register("one_cycle", formula="up to 1, down to ~0", source="Smith & Topin 2018")
def one_cycle(
    optimizer: optim.Optimizer, steps: int, *, warmup: Share = 0.3
) -> lr_scheduler.LRScheduler:
    """One long rise and one longer fall (momentum is left alone)."""
    rise = max(warmup, 2 / (steps + 1))  # at least one step: torch divides by its length
    return lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps + 1, pct_start=rise, cycle_momentum=False
    )


@SCHEDULES.register("cyclic", formula="triangles between low and 1", source="Smith 2017")
def cyclic(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    cycles: Annotated[int, knob(1, 20, help="number of triangles")] = 4,
    low: Low = 0.1,
) -> lr_scheduler.LRScheduler:
    """Up and down again, several times."""
    half = max(1, steps // (2 * cycles))
    return lr_scheduler.CyclicLR(optimizer, low, 1.0, step_size_up=half, cycle_momentum=False)


@SCHEDULES.register("polynomial", formula="(1 - t/T)^power", source="PolynomialLR")
def polynomial(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    power: Annotated[float, knob(0.1, 5.0, step=0.1, help="1 is a straight line")] = 1.0,
) -> lr_scheduler.LRScheduler:
    """A straight or bent line down to zero."""
    return lr_scheduler.PolynomialLR(optimizer, max(1, steps), power)


@SCHEDULES.register("plateau", formula="γ when the loss stalls", source="ReduceLROnPlateau")
def plateau(
    optimizer: optim.Optimizer,
    steps: int,
    *,
    patience: Annotated[int, knob(1, 1000, help="steps without progress")] = 50,
    gamma: Annotated[float, knob(0.01, 0.99, step=0.01, help="factor at each drop")] = 0.5,
) -> lr_scheduler.LRScheduler:
    """Waits for the training loss to stop improving, then drops."""
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=gamma, patience=patience)


class Schedule:
    """The factor on the learning rate, step after step.

    Torch's own scheduler runs on an optimizer without weights whose lr is 1.

    Args:
        name: a name in `SCHEDULES`.
        steps: the length of the whole run.
        arguments: the schedule's own.

    Attributes:
        watches: whether it follows the loss rather than the steps.

    Raises:
        RecipeError: an unknown name.
    """

    def __init__(self, name: str, steps: int, arguments: Mapping[str, Any] | None = None) -> None:
        entry = SCHEDULES[name]
        self._unit = optim.SGD([torch.zeros(1)], lr=1.0)
        self._scheduler = entry.make(self._unit, steps, **(arguments or {}))
        self.watches = isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau)
        self._unit.step()  # torch warns where a scheduler moves before its optimizer

    @property
    def factor(self) -> float:
        """What the next step's learning rate is multiplied by."""
        return float(self._unit.param_groups[0]["lr"])

    def advance(self, loss: float) -> None:
        """Go one step on; `loss` is what the last step saw (plateau waits for it)."""
        if self.watches:
            self._scheduler.step(loss)
        elif self._scheduler is not None:
            self._scheduler.step()


def factors(name: str, steps: int, arguments: Mapping[str, Any] | None = None) -> Iterator[float]:
    """The factors of a whole run, for plotting a schedule without training anything."""
    schedule = Schedule(name, steps, arguments)
    for _ in range(steps):
        yield schedule.factor
        schedule.advance(0.0)
