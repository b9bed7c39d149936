"""Anatomy: every tensor that a network and its optimizer hold, and what kind it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["weight", "bias", "scale", "buffer", "optimizer state"]


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a network.

    Attributes:
        name: as in `state_dict` (optimizer state: `exp_avg of layer1.weight`).
        kind: weight, bias, scale (of a normalization), buffer, or optimizer state.
        layer: the class of the module that owns it.
        learned: whether gradients change it.
        shape, count, dtype: of the tensor; `count` is its number of values.
        mean, std, norm: over all values, in float64; NaN for an empty tensor.
    """

    name: str
    kind: Kind
    layer: str
    learned: bool
    shape: tuple[int, ...]
    count: int
    dtype: str
    mean: float
    std: float
    norm: float

    def row(self) -> dict[str, object]:
        """The facts as a table row."""
        return {
            "tensor": self.name,
            "kind": self.kind,
            "layer": self.layer,
            "learned": self.learned,
            "shape": "x".join(map(str, self.shape)) or "scalar",
            "count": self.count,
            "mean": self.mean,
            "std": self.std,
        }


def anatomy(network: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[TensorInfo]:
    """All parameters, then all buffers, then the optimizer's state, of any `nn.Module`.

    A parameter is a weight when it multiplies inputs (two dimensions or more), a scale
    when it multiplies channels one by one (a normalization's `weight`), else a bias.
    """
    owners = dict(network.named_modules())
    names: dict[int, str] = {}
    found = []
    for name, parameter in network.named_parameters():
        owner = type(owners[name.rpartition(".")[0]]).__name__
        names[id(parameter)] = name
        kind: Kind = "bias"
        if parameter.ndim >= 2:
            kind = "weight"
        elif name.rpartition(".")[2] == "weight":
            kind = "scale"
        found.append(_describe(name, kind, owner, parameter, parameter.requires_grad))
    for name, buffer in network.named_buffers():
        owner = type(owners[name.rpartition(".")[0]]).__name__
        found.append(_describe(name, "buffer", owner, buffer, False))
    if optimizer is not None:
        for owned, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    name = f"{key} of {names.get(id(owned), 'another tensor')}"
                    owner = type(optimizer).__name__
                    found.append(_describe(name, "optimizer state", owner, value, False))
    return found


@torch.no_grad()
def _describe(name: str, kind: Kind, layer: str, tensor: Tensor, learned: bool) -> TensorInfo:
    values = tensor.detach().double().flatten()
    return TensorInfo(
        name=name,
        kind=kind,
        layer=layer,
        learned=learned,
        shape=tuple(tensor.shape),
        count=tensor.numel(),
        dtype=str(tensor.dtype).removeprefix("torch."),
        mean=values.mean().item(),
        std=values.std(correction=0).item() if len(values) else math.nan,
        norm=values.norm().item(),
    )
