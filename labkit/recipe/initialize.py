"""Initialization schemes by name, over `torch.nn.init`.

An entry is `make(weight, gain, generator, *, its own arguments)` and fills `weight` in
place: shape `(fan_out, fan_in)`, or `(out, in, height, width)` for a convolution. `gain`
is the one that suits the activation after the layer (1 for the output layer). Entries
registered with `whole=True` are `make(network, gains, inputs, generator, *, …)` instead
and see the whole network and a batch of data. Biases start at zero unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import init

from labkit.core.parameters import knob
from labkit.core.registry import Registry

INITS = Registry("init")

Fan = Annotated[
    Literal["fan_in", "fan_out"],
    knob(help="keep the size of activations (fan_in) or of gradients (fan_out)"),
]
Gain = Annotated[float, knob(0.0, 10.0, step=0.1, help="factor on the scheme's own scale")]
Std = Annotated[float, knob(0.0, 10.0, step=0.01, help="standard deviation of the weights")]

GLOROT = "Glorot & Bengio 2010, section 4.2"
HE = "He et al. 2015, section 2.2"
LECUN = "LeCun et al. 1998, Efficient BackProp, section 4.6"


def weight_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that own a weight matrix or kernel, by name, in order."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]


@torch.no_grad()
def initialize(
    network: nn.Module,
    scheme: str,
    *,
    gain: float,
    inputs: Tensor,
    generator: Generator,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """Fill the network's weights by a scheme, in place.

    Args:
        network: an `nn.Sequential` whose last weight layer is the output.
        scheme: a name in `INITS`.
        gain: of the hidden layers' activation; the output layer gets 1.
        inputs: training inputs, `(n, ...)`, for schemes that look at data.
        generator: the only source of randomness, on the CPU.
        arguments: the scheme's own.

    Raises:
        RecipeError: an unknown scheme.
    """
    entry = INITS[scheme]
    layers = [module for _, module in weight_layers(network)]
    gains = [gain] * (len(layers) - 1) + [1.0]
    for layer in layers:
        if layer.bias is not None:
            init.zeros_(layer.bias)  # type: ignore[arg-type]
    if entry.traits.get("whole"):
        entry.make(network, gains, inputs, generator, **(arguments or {}))
        return
    for layer, its_gain in zip(layers, gains, strict=True):
        entry.make(layer.weight, its_gain, generator, **(arguments or {}))


def _fans(weight: Tensor) -> tuple[int, int]:
    field = math.prod(weight.shape[2:])
    return weight.shape[1] * field, weight.shape[0] * field


@INITS.register(
    "pytorch",
    whole=True,
    formula="U(-1/√fan_in, 1/√fan_in), biases too",
    source="torch.nn.Linear.reset_parameters",
)
def pytorch(
    network: nn.Module, gains: Sequence[float], inputs: Tensor, generator: Generator
) -> None:
    """PyTorch's default for linear and convolutional layers."""
    for _, layer in weight_layers(network):
        init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)  # type: ignore[arg-type]
        if layer.bias is not None:
            bound = 1 / math.sqrt(_fans(layer.weight)[0])  # type: ignore[arg-type]
            init.uniform_(layer.bias, -bound, bound, generator=generator)  # type: ignore[arg-type]


@INITS.register("zeros", formula="w = 0", source="torch.nn.init.zeros_")
def zeros(weight: Tensor, gain: float, generator: Generator) -> None:
    """Every weight zero: no signal passes, so nothing in the hidden layers can learn."""
    init.zeros_(weight)


@INITS.register("ones", formula="w = 1", source="torch.nn.init.ones_")
def ones(weight: Tensor, gain: float, generator: Generator) -> None:
    """Every weight one: equal units, and sums that grow with fan_in."""
    init.ones_(weight)


@INITS.register("constant", formula="w = value", source="torch.nn.init.constant_")
def constant(
    weight: Tensor,
    gain: float,
    generator: Generator,
    *,
    value: Annotated[float, knob(-2.0, 2.0, step=0.01, help="the value of every weight")] = 0.1,
) -> None:
    """Every weight the same value, which you choose."""
    init.constant_(weight, value)


@INITS.register("all_equal", formula="w = gain/√fan_in", source="Goodfellow et al. 2016, 8.4")
def all_equal(weight: Tensor, gain: float, generator: Generator) -> None:
    """A sensible size, but the same for all weights: units start, and stay, identical."""
    init.constant_(weight, gain / math.sqrt(_fans(weight)[0]))


@INITS.register("uniform", formula="U(-bound, bound)", source="torch.nn.init.uniform_")
def uniform(
    weight: Tensor,
    gain: float,
    generator: Generator,
    *,
    bound: Annotated[float, knob(0.0, 10.0, step=0.01, help="largest magnitude")] = 0.5,
) -> None:
    """Evenly spread, with no regard to the layer's size."""
    init.uniform_(weight, -bound, bound, generator=generator)


@INITS.register("normal", formula="N(0, std²)", source="torch.nn.init.normal_")
def normal(weight: Tensor, gain: float, generator: Generator, *, std: Std = 0.5) -> None:
    """Bell-shaped, with no regard to the layer's size."""
    init.normal_(weight, 0.0, std, generator=generator)


@INITS.register("trunc_normal", formula="N(0, std²) cut at ±2 std", source="torch.nn.init")
def trunc_normal(weight: Tensor, gain: float, generator: Generator, *, std: Std = 0.5) -> None:
    """Bell-shaped without the far tails."""
    init.trunc_normal_(weight, 0.0, std or 1e-12, -2 * std, 2 * std, generator=generator)


@INITS.register("xavier_uniform", formula="U(±factor·√(6/(fan_in + fan_out)))", source=GLOROT)
def xavier_uniform(
    weight: Tensor, gain: float, generator: Generator, *, factor: Gain = 1.0
) -> None:
    """Keeps activations and gradients at one size in tanh-like networks."""
    init.xavier_uniform_(weight, gain=factor, generator=generator)


@INITS.register("xavier_normal", formula="N(0, factor²·2/(fan_in + fan_out))", source=GLOROT)
def xavier_normal(weight: Tensor, gain: float, generator: Generator, *, factor: Gain = 1.0) -> None:
    """Xavier's scale, bell-shaped."""
    init.xavier_normal_(weight, gain=factor, generator=generator)


@INITS.register("kaiming_uniform", formula="U(±gain·√(3/fan))", source=HE)
def kaiming_uniform(
    weight: Tensor, gain: float, generator: Generator, *, mode: Fan = "fan_in", factor: Gain = 1.0
) -> None:
    """He's scale, evenly spread: Xavier's argument redone for ReLU."""
    init.kaiming_uniform_(weight, mode=mode, nonlinearity="linear", generator=generator)
    weight.mul_(gain * factor)


@INITS.register("kaiming_normal", formula="N(0, gain²/fan)", source=HE)
def kaiming_normal(
    weight: Tensor, gain: float, generator: Generator, *, mode: Fan = "fan_in", factor: Gain = 1.0
) -> None:
    """He's scale, bell-shaped: the usual choice before ReLU."""
    init.kaiming_normal_(weight, mode=mode, nonlinearity="linear", generator=generator)
    weight.mul_(gain * factor)


@INITS.register("lecun_normal", formula="N(0, 1/fan_in)", source=LECUN)
def lecun_normal(weight: Tensor, gain: float, generator: Generator) -> None:
    """One over the square root of fan_in: the oldest of the family."""
    init.kaiming_normal_(weight, nonlinearity="linear", generator=generator)


@INITS.register("lecun_uniform", formula="U(±√(3/fan_in))", source=LECUN)
def lecun_uniform(weight: Tensor, gain: float, generator: Generator) -> None:
    """LeCun's scale, evenly spread."""
    init.kaiming_uniform_(weight, nonlinearity="linear", generator=generator)


@INITS.register("orthogonal", formula="WᵀW = gain²·I", source="Saxe et al. 2014")
def orthogonal(weight: Tensor, gain: float, generator: Generator, *, factor: Gain = 1.0) -> None:
    """A random rotation: lengths are kept exactly, layer after layer."""
    init.orthogonal_(weight, gain=gain * factor, generator=generator)


@INITS.register("sparse", formula="N(0, std²), a share of each column zero", source="Martens 2010")
def sparse(
    weight: Tensor,
    gain: float,
    generator: Generator,
    *,
    sparsity: Annotated[float, knob(0.0, 0.99, step=0.01, help="share of zero weights")] = 0.5,
    std: Std = 0.5,
) -> None:
    """Each input feeds only some of the units."""
    # Not `init.sparse_`: it chooses the zeros by torch's global generator.
    init.normal_(weight, 0.0, std, generator=generator)
    zeros = math.ceil(sparsity * len(weight))
    for column in weight.view(len(weight), -1).T:
        column[torch.randperm(len(column), generator=generator)[:zeros]] = 0


@INITS.register("identity", formula="w = factor·I", source="torch.nn.init.eye_ and dirac_")
def identity(weight: Tensor, gain: float, generator: Generator, *, factor: Gain = 1.0) -> None:
    """Each unit copies one input (`eye_`; `dirac_` in a convolution)."""
    (init.eye_ if weight.ndim == 2 else init.dirac_)(weight)
    weight.mul_(factor)


@INITS.register(
    "lsuv",
    whole=True,
    formula="orthogonal, then w / std(layer's output)",
    source="Mishkin & Matas 2016",
)
def lsuv(
    network: nn.Module,
    gains: Sequence[float],
    inputs: Tensor,
    generator: Generator,
    *,
    tolerance: Annotated[float, knob(0.001, 0.5, step=0.01, help="on the unit variance")] = 0.02,
    tries: Annotated[int, knob(1, 50, help="rescalings per layer at most")] = 10,
) -> None:
    """Measures on data: each layer in turn is scaled until its output has unit variance."""
    signal = inputs[:256]
    for module in network.children():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight
            init.orthogonal_(weight, generator=generator)
            for _ in range(tries):
                variance = module(signal).var()
                if abs(variance - 1) < tolerance or variance == 0:
                    break
                weight.div_(variance.sqrt())
        signal = module(signal)
