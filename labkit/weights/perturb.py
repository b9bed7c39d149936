"""Damage to weights: kinds by name, for named tensors or for a whole network in place.

An entry of `DAMAGES` is `make(values, generator, *, amount, its own arguments)`: it takes
one tensor in float32 or float64 and gives a new one, never changing what it was given. How
much it draws from the generator does not depend on the amount: from one seed, more damage
is the same damage taken further, so that a curve over amounts is a curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from labkit.core.errors import LabError
from labkit.core.parameters import knob
from labkit.core.registry import Registry
from labkit.core.threads import one_thread
from labkit.recipe.initialize import INITS
from labkit.weights.names import looks_like_buffer, select

DAMAGES = Registry("damage")

Share = Annotated[float, knob(0.0, 1.0, step=0.01, help="share of the weights")]
Channels = Annotated[float, knob(0.0, 1.0, step=0.01, help="share of the output channels")]


class _Schemes:
    """The initializations that need nothing but the tensor."""

    def names(self) -> list[str]:
        return [name for name, entry in INITS.items() if not entry.traits.get("whole")]


def damage(
    name: str, *, formula: str, unharmed: float = 0.0, matrix: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a kind of damage.

    Args:
        name: how widgets and calls name it.
        formula: what it does, in one line.
        unharmed: the amount that changes nothing.
        matrix: whether it needs a tensor of two dimensions or more.
    """
    return DAMAGES.register(name, formula=formula, unharmed=unharmed, matrix=matrix)


@damage("noise", formula="w + amount·std(w)·N(0, 1)")
def noise(
    values: Tensor,
    generator: Generator,
    *,
    amount: Annotated[float, knob(0.0, 2.0, step=0.02, help="in standard deviations")] = 0.2,
) -> Tensor:
    """Add normal noise, as large as a share of the tensor's own standard deviation.

    So a tensor of equal values stays as it is.
    """
    drawn = torch.empty_like(values).normal_(generator=generator)
    return drawn.mul_(amount * values.std(correction=0)).add_(values)


@damage("scale", formula="amount·w", unharmed=1.0)
def scale(
    values: Tensor,
    generator: Generator,
    *,
    amount: Annotated[float, knob(0.0, 3.0, step=0.02, help="factor on every weight")] = 1.5,
) -> Tensor:
    """Multiply every weight by one factor."""
    return values * amount


@damage("prune", formula="w = 0 where |w| is smallest")
def prune(values: Tensor, generator: Generator, *, amount: Share = 0.5) -> Tensor:
    """Set the smallest weights of the tensor to zero (Han et al. 2015)."""
    count = round(amount * values.numel())
    pruned = values.clone()
    if count:  # numpy's selection takes a quarter of the time of torch.topk
        order = np.argpartition(values.abs().flatten().numpy(), count - 1)
        pruned.view(-1)[torch.from_numpy(order[:count])] = 0
    return pruned


@damage("shuffle", formula="w[i] = w[j]")
def shuffle(values: Tensor, generator: Generator, *, amount: Share = 1.0) -> Tensor:
    """Let weights trade places: the same numbers, so the same histogram, elsewhere."""
    order = torch.randperm(values.numel(), generator=generator)
    chosen = order[: round(amount * len(order))]
    shuffled = values.clone()
    taken = values.flatten().index_select(0, chosen.roll(1))
    shuffled.view(-1).scatter_(0, chosen, taken)
    return shuffled


@damage("reinitialize", formula="w ~ scheme, channel by channel", matrix=True)
def reinitialize(
    values: Tensor,
    generator: Generator,
    *,
    amount: Channels = 1.0,
    scheme: Annotated[
        str, knob(choices=_Schemes(), help="how new weights are drawn")
    ] = "kaiming_normal",
) -> Tensor:
    """Forget what channels have learned: draw new random weights, as before training."""
    if scheme not in _Schemes().names():
        raise LabError(
            f"scheme={scheme!r} cannot fill one tensor: choose from {', '.join(_Schemes().names())}"
        )
    fresh = torch.empty_like(values)
    INITS[scheme].make(fresh, math.sqrt(2), generator)
    chosen = _channels(values, amount, generator)
    damaged = values.clone()
    damaged[chosen] = fresh[chosen]
    return damaged


@damage("zero channels", formula="w[channel] = 0")
def zero_channels(
    values: Tensor,
    generator: Generator,
    *,
    amount: Channels = 0.1,
    channel: Annotated[
        int, knob(-1, 65535, scale="text", help="this one alone; -1: a random share of them")
    ] = -1,
) -> Tensor:
    """Silence output channels: every weight that leads to them becomes zero."""
    chosen = _channels(values, amount, generator)
    if channel >= 0:
        if not values.ndim or channel >= len(values):
            count = len(values) if values.ndim else 0
            raise LabError(f"channel={channel} is not there: the tensor has {count}, from 0")
        chosen = torch.tensor([channel])
    damaged = values.clone()
    damaged[chosen] = 0
    return damaged


def _channels(values: Tensor, amount: float, generator: Generator) -> Tensor:
    """A random share of the output channels (rows), `(k,)`; a larger share contains the smaller."""
    order = torch.randperm(len(values), generator=generator)
    return order[: round(amount * len(order))]


# --- damage to named tensors -------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """What to do to which tensors: checked when made, applied by `perturb` or `Perturbation`.

    Attributes:
        kind: a name in `DAMAGES`.
        amount: how much, within the kind's range; None for its default.
        layers: names of layers or tensors, or prefixes that end at a dot; none for all.
            Of a layer the weights are damaged (two dimensions or more, no buffers); a
            tensor named in full is damaged whatever it is.
        seed: of what is drawn.
        arguments: the kind's own (`scheme` of reinitialize, `channel` of zero channels).

    Raises:
        RecipeError: an unknown kind, argument or value.
    """

    kind: str = "noise"
    amount: float | None = None
    layers: tuple[str, ...] = ()
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _tuple(self.layers))
        entry = DAMAGES[self.kind]
        if self.amount is None:
            object.__setattr__(self, "amount", entry.parameters()["amount"].default)
        entry.check({"amount": self.amount, **self.arguments}, self.kind)

    def __str__(self) -> str:
        where = ", ".join(self.layers) or "all layers"
        own = "".join(f", {name} {value}" for name, value in self.arguments.items())
        return f"{self.kind} {self.amount:g}{own} in {where}"


@torch.no_grad()
def perturb(
    tensors: Mapping[str, Tensor],
    layers: str | Iterable[str] | None,
    kind: str,
    amount: float | None,
    generator: Generator,
    *,
    buffers: Collection[str] = (),
    **arguments: Any,
) -> dict[str, Tensor]:
    """Damaged copies of named tensors; the originals are not touched.

    Args:
        tensors: by name, on the CPU or elsewhere.
        layers: which: see `Damage`; None or `"all"` for all.
        kind, amount, arguments: see `Damage`.
        generator: where everything drawn comes from, on the CPU.
        buffers: names that are no weights whatever their shape.

    Returns:
        All tensors in their order: new ones where damaged, the very same ones elsewhere.

    Raises:
        LabError: an unknown kind, layer, argument or value, or a tensor it cannot damage.
    """
    plan = Damage(kind, amount, _tuple(layers), arguments=arguments)
    return {**tensors, **_damaged(tensors, plan, generator, buffers)}


def _tuple(layers: str | Iterable[str] | None) -> tuple[str, ...]:
    """Names of layers; none where all are meant."""
    named = (layers,) if isinstance(layers, str) else tuple(layers or ())
    return () if named == ("all",) else named


def _damaged(
    tensors: Mapping[str, Tensor], plan: Damage, generator: Generator, buffers: Collection[str]
) -> dict[str, Tensor]:
    entry = DAMAGES[plan.kind]
    chosen = []
    for name in select(list(tensors), plan.layers):
        tensor = tensors[name]
        if name in plan.layers:
            _check(name, tensor, plan.kind)
        elif not is_weight(name, tensor) or name in buffers:
            continue
        if tensor.numel():
            chosen.append(name)
    damaged = {}
    with one_thread():
        for name in chosen:
            tensor = tensors[name].detach()
            values = tensor.to("cpu", torch.promote_types(tensor.dtype, torch.float32))
            made = entry.make(values.contiguous(), generator, amount=plan.amount, **plan.arguments)
            damaged[name] = made.to(tensor.device, tensor.dtype)
    return damaged


def is_weight(name: str, tensor: Tensor) -> bool:
    """Whether a tensor multiplies inputs: floating point, two dimensions, no statistic."""
    return tensor.is_floating_point() and tensor.ndim >= 2 and not looks_like_buffer(name)


def _check(name: str, tensor: Tensor, kind: str) -> None:
    if not tensor.is_floating_point():
        kinds = str(tensor.dtype).removeprefix("torch.")
        raise LabError(f"{name} holds {kinds} values: only floating-point tensors can be damaged")
    if DAMAGES[kind].traits["matrix"] and tensor.ndim < 2:
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        raise LabError(f"{kind} is for weights of two dimensions or more; {name} is {shape}")


class Perturbation:
    """Damages a network in place and restores it bit for bit.

    Damages add up in their order, always from the same originals: the result of `apply` does
    not depend on what was applied before.

    Args:
        network: any `nn.Module`; nobody else may change its tensors meanwhile.

    Attributes:
        damages: those it has now.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.damages: tuple[Damage, ...] = ()
        self._tensors = dict(network.named_parameters()) | dict(network.named_buffers())
        self._buffers = frozenset(name for name, _ in network.named_buffers())
        self._originals: dict[str, Tensor] = {}  # of every tensor that was ever damaged
        self._touched: set[str] = set()

    @torch.no_grad()
    def apply(self, *damages: Damage) -> list[str]:
        """Damage the network in exactly these ways, in this order, and in no other.

        Returns:
            The names of the tensors that are damaged.

        Raises:
            LabError: see `perturb`; then the network stays as it was.
        """
        now: dict[str, Tensor] = {}
        for plan in damages:
            tensors = {n: now.get(n, self._originals.get(n, t)) for n, t in self._tensors.items()}
            generator = Generator().manual_seed(plan.seed)
            now |= _damaged(tensors, plan, generator, self._buffers)
        for name in now.keys() - self._originals.keys():
            self._originals[name] = self._tensors[name].detach().clone()
        for name in self._touched - now.keys():
            self._tensors[name].copy_(self._originals[name])
        for name, values in now.items():
            self._tensors[name].copy_(values)
        self._touched = set(now)
        self.damages = damages
        return [name for name in self._tensors if name in now]

    def restore(self) -> None:
        """Give every tensor its original values."""
        self.apply()


@contextmanager
def perturbed(network: nn.Module, *damages: Damage) -> Iterator[nn.Module]:
    """The network with these damages inside the block, and as it was after it."""
    perturbation = Perturbation(network)
    try:
        perturbation.apply(*damages)
        yield network
    finally:
        perturbation.restore()
