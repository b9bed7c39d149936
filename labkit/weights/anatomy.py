"""Anatomy: every tensor that a network or a weight file holds, and what kind it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from labkit.core.threads import one_thread
from labkit.weights.file import Weights
from labkit.weights.load import load, unwrapped
from labkit.weights.names import layer_of

Kind = Literal["weight", "bias", "scale", "buffer", "optimizer state"]


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a network.

    Attributes:
        name: as in `state_dict` (optimizer state: `exp_avg of layer1.weight`).
        kind: weight, bias, scale (of a normalization), buffer, or optimizer state.
        layer: the class of the module that owns it; of a file, the kind of block it is in,
            or "" where the file does not say.
        learned: whether gradients change it.
        shape, count, dtype, bytes: of the tensor; `count` is its number of values.
        mean, std, norm: over all values, in float64; NaN for an empty tensor.
        sparsity: share of values that are zero; NaN for an empty tensor.
        rank: effective rank of a tensor of two dimensions or more, flattened to
            (out, everything else); NaN for others. See `effective_rank`.
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
    bytes: int = 0
    sparsity: float = math.nan
    rank: float = math.nan

    @property
    def place(self) -> str:
        """The layer by name: `model.3` of `model.3.conv.weight`."""
        return layer_of(self.name)

    @property
    def full_rank(self) -> int:
        """The highest rank that its shape allows; 0 where it has no rank."""
        if len(self.shape) < 2:
            return 0
        return min(self.shape[0], math.prod(self.shape[1:]))

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

    def facts(self) -> dict[str, object]:
        """All of them as a table row; what does not apply is left empty."""
        row = self.row()
        if not self.layer:
            del row["layer"]
        return {
            **row,
            "dtype": self.dtype,
            "bytes": self.bytes,
            "norm": self.norm,
            "sparsity": self.sparsity,
            "effective rank": f"{self.rank:.1f} of {self.full_rank}" if self.full_rank else "",
        }


def anatomy(source: Any, optimizer: torch.optim.Optimizer | None = None) -> list[TensorInfo]:
    """All parameters, then all buffers, then the optimizer's state, in order of depth.

    A parameter is a weight when it multiplies inputs (two dimensions or more), a scale
    when it multiplies channels one by one (a normalization's `weight`), else a bias.

    Args:
        source: any `nn.Module`, or whatever `weights.load` takes.
        optimizer: one that trains a module.

    Raises:
        LabError: `source` is neither; see `weights.load`.
    """
    with one_thread():  # hundreds of small tensors: threads would wait for each other
        if not isinstance(source, nn.Module):
            return _of_file(load(source))
        network = unwrapped(source)
        found = _of_module(network)
        if optimizer is not None:
            names = {id(parameter): name for name, parameter in network.named_parameters()}
            found += _of_optimizer(optimizer, names)
        return found


def _of_module(network: nn.Module) -> list[TensorInfo]:
    owners = {name: type(module).__name__ for name, module in network.named_modules()}
    parameters = [
        _describe(
            name, kind_of(name, value), owners[_owner(name)], value, learned=value.requires_grad
        )
        for name, value in network.named_parameters()
    ]
    buffers = [
        _describe(name, "buffer", owners[_owner(name)], value, learned=False)
        for name, value in network.named_buffers()
    ]
    return parameters + buffers


def _of_file(weights: Weights) -> list[TensorInfo]:
    blocks = [*(weights.yaml or {}).get("backbone", ()), *(weights.yaml or {}).get("head", ())]
    kinds = {f"model.{number}": str(block[2]) for number, block in enumerate(blocks)}
    found: list[TensorInfo] = []
    for wanted in (False, True):
        for name, tensor in weights.tensors.items():
            buffer = name in weights.buffers or not tensor.is_floating_point()
            if buffer is wanted:
                kind = kind_of(name, tensor, buffer=buffer)
                block = kinds.get(layer_of(name), "").rpartition(".")[2]
                found.append(_describe(name, kind, block, tensor, learned=not buffer))
    return found


def _of_optimizer(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> Iterable[TensorInfo]:
    owner = type(optimizer).__name__
    for owned, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                name = f"{key} of {names.get(id(owned), 'another tensor')}"
                yield _describe(name, "optimizer state", owner, value, learned=False)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def kind_of(name: str, tensor: Tensor, *, buffer: bool = False) -> Kind:
    """What a tensor of a network is, by its shape and the last part of its name."""
    if buffer:
        return "buffer"
    if tensor.ndim >= 2:
        return "weight"
    return "scale" if name.rpartition(".")[2] == "weight" else "bias"


@torch.no_grad()
def _describe(name: str, kind: Kind, layer: str, tensor: Tensor, *, learned: bool) -> TensorInfo:
    values = tensor.detach().to("cpu", torch.float64)
    flat = values.flatten()
    return TensorInfo(
        name=name,
        kind=kind,
        layer=layer,
        learned=learned,
        shape=tuple(tensor.shape),
        count=tensor.numel(),
        dtype=str(tensor.dtype).removeprefix("torch."),
        mean=flat.mean().item() if len(flat) else math.nan,
        std=flat.std(correction=0).item() if len(flat) else math.nan,
        norm=flat.norm().item(),
        bytes=tensor.nbytes,
        sparsity=1 - flat.count_nonzero().item() / len(flat) if len(flat) else math.nan,
        rank=effective_rank(values),
    )


@torch.no_grad()
def effective_rank(values: Tensor) -> float:
    """How many directions a matrix really uses: exp of the entropy of its singular values.

    It is `k` for `k` equal singular values, and close to 1 where one of them outweighs the
    others (Roy & Vetterli 2007, "The effective rank", definition 1).

    Args:
        values: `(out, ...)`; everything after the first dimension counts as one.

    Returns:
        0 for a tensor of zeros; NaN with less than two dimensions, no values, or values
        that are not finite.
    """
    if values.ndim < 2 or not values.numel():
        return math.nan
    matrix = values.double().flatten(1)
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    # Of the smaller Gram matrix: several times as fast as singular values. What rounding
    # leaves of a direction that is not there is cut off.
    squares = torch.linalg.eigvalsh(matrix @ matrix.T) if matrix.isfinite().all() else None
    if squares is None:
        return math.nan
    squares[squares < squares[-1] * len(squares) * torch.finfo(torch.float64).eps] = 0
    singular = squares.clamp(min=0).sqrt()
    total = singular.sum()
    if not total > 0:
        return 0.0
    return torch.special.entr(singular / total).sum().exp().item()
