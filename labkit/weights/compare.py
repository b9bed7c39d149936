"""What changed between two sets of weights of one architecture: how far, and in which direction."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from labkit.core.errors import LabError
from labkit.core.threads import one_thread
from labkit.weights.anatomy import Kind, kind_of
from labkit.weights.load import load
from labkit.weights.names import layer_of

# Bits of the fraction.
FLOATS = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}
LISTED = 6  # the most names in a sentence


@dataclass(frozen=True)
class Change:
    """What happened to one tensor, or to a layer's tensors taken together.

    Attributes:
        name: of the tensor, or of the layer.
        kind: of the tensor (see `TensorInfo`); "layer" for several together.
        count: number of values.
        distance: L2 norm of the difference.
        relative: the distance over the norm before; NaN where that was 0.
        cosine: of the angle between before and after, as vectors: 1 is the same direction,
            0 a right angle; NaN where one of them is 0.
        flipped: share of the values whose sign changed.
        shift: mean of the difference.
        largest: the largest absolute difference of a value.
        rounding: the distance that storing the finer of the two in the other's dtype would
            make on its own; 0 where both have the same dtype.
        same: whether nothing changed, but for that rounding.
        dtypes: before and after.
    """

    name: str
    kind: Kind | str
    count: int
    distance: float
    relative: float
    cosine: float
    flipped: float
    shift: float
    largest: float
    rounding: float
    same: bool
    dtypes: tuple[str, str]

    @property
    def place(self) -> str:
        """The layer by name: `model.3` of `model.3.conv.weight`."""
        return self.name if self.kind == "layer" else layer_of(self.name)

    @property
    def angle(self) -> float:
        """Between before and after, as vectors, in degrees."""
        return math.degrees(math.acos(self.cosine))

    def row(self) -> dict[str, object]:
        """The facts as a table row."""
        return {
            "layer" if self.kind == "layer" else "tensor": self.name,
            **({} if self.kind == "layer" else {"kind": self.kind}),
            "count": self.count,
            "changed": not self.same,
            "distance": self.distance,
            "relative": self.relative,
            "cosine": self.cosine,
            "signs flipped": self.flipped,
            "mean shift": self.shift,
        }


@dataclass(frozen=True, repr=False)
class Comparison(Sequence[Change]):
    """The changes of all tensors that both have in one shape, in order of depth.

    Attributes:
        changes: one for each such tensor.
        layers: one for each layer: its weights, scales and biases together, no buffers.
        only_before, only_after: names that the other does not have.
        reshaped: names that both have, with the shape before and after.
    """

    changes: tuple[Change, ...]
    layers: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self.changes[index]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __repr__(self) -> str:
        return f"<Comparison: {self.words()[0]}>"

    def words(self) -> list[str]:
        """What there is to know before reading the numbers, one sentence each."""
        moved = sum(not change.same for change in self.changes)
        sentences = [f"{moved} of {len(self.changes)} tensors changed."]
        pairs = dict.fromkeys(c.dtypes for c in self.changes if c.dtypes[0] != c.dtypes[1])
        for before, after in pairs:
            mine = [c for c in self.changes if c.dtypes == (before, after)]
            rounding = math.sqrt(sum(c.rounding**2 for c in mine))
            distance = math.sqrt(sum(c.distance**2 for c in mine))
            sentences.append(
                f"{before} is compared with {after} in {len(mine)} tensors: of their distance "
                f"of {distance:.3g}, rounding alone would make {rounding:.3g}."
            )
        if self.reshaped:
            shown = [
                f"{name} ({_spell(before)} → {_spell(after)})"
                for name, (before, after) in self.reshaped.items()
            ]
            sentences.append(f"Of another shape: {_listed(shown)}.")
        if self.only_before:
            sentences.append(f"Only before: {_listed(self.only_before)}.")
        if self.only_after:
            sentences.append(f"Only after: {_listed(self.only_after)}.")
        return sentences


def compare(before: Any, after: Any) -> Comparison:
    """How far each tensor moved, and in which direction.

    Tensors are matched by name. Dtypes may differ, as between a checkpoint stripped to
    float16 and one in training: a tensor that differs by no more than rounding to the
    coarser dtype counts as unchanged, and `Comparison.words` says that it was so.

    Args:
        before, after: whatever `weights.load` takes: files, names, networks, state dicts.

    Raises:
        LabError: no tensor of one is in the other in the same shape.
    """
    old, new = load(before), load(after)
    buffers = old.buffers | new.buffers
    common = [name for name in old.tensors if name in new.tensors]
    shapes = {n: (tuple(old.tensors[n].shape), tuple(new.tensors[n].shape)) for n in common}
    equal = [name for name in common if shapes[name][0] == shapes[name][1]]
    if not equal:
        raise LabError(
            "nothing to compare: no tensor has the same name and shape before and after "
            f"(before has {_listed(list(old.tensors), 2)}; after has "
            f"{_listed(list(new.tensors), 2)}). Give two sets of weights of one architecture."
        )
    kinds = {name: kind_of(name, old.tensors[name], buffer=name in buffers) for name in equal}
    grouped: dict[str, list[str]] = {}
    for name in equal:
        if kinds[name] != "buffer":
            grouped.setdefault(layer_of(name), []).append(name)
    with one_thread():
        sums = {name: _sums(old.tensors[name], new.tensors[name]) for name in equal}
    together = {
        layer: functools.reduce(operator.add, (sums[name] for name in names))
        for layer, names in grouped.items()
    }
    return Comparison(
        tuple(found.change(name, kinds[name]) for name, found in sums.items()),
        tuple(found.change(layer, "layer") for layer, found in together.items()),
        tuple(name for name in old.tensors if name not in new.tensors),
        tuple(name for name in new.tensors if name not in old.tensors),
        {name: both for name, both in shapes.items() if both[0] != both[1]},
    )


@dataclass(frozen=True)
class _Sums:
    """Sums over the values of a tensor before and after; those of a layer's tensors add up."""

    count: int
    squares: float
    before: float
    after: float
    product: float
    flips: int
    shift: float
    largest: float
    rounding: float
    same: bool
    dtypes: tuple[tuple[str, ...], tuple[str, ...]]

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.count + other.count,
            self.squares + other.squares,
            self.before + other.before,
            self.after + other.after,
            self.product + other.product,
            self.flips + other.flips,
            self.shift + other.shift,
            max(self.largest, other.largest),
            self.rounding + other.rounding,
            self.same and other.same,
            (
                tuple(dict.fromkeys(self.dtypes[0] + other.dtypes[0])),
                tuple(dict.fromkeys(self.dtypes[1] + other.dtypes[1])),
            ),
        )

    def change(self, name: str, kind: str) -> Change:
        norms = math.sqrt(self.before), math.sqrt(self.after)
        distance, both = math.sqrt(self.squares), norms[0] * norms[1]
        return Change(
            name=name,
            kind=kind,
            count=self.count,
            distance=distance,
            relative=distance / norms[0] if norms[0] else math.nan,
            # Rounding may carry it a little beyond 1.
            cosine=math.copysign(min(1.0, abs(self.product) / both), self.product)
            if both
            else math.nan,
            flipped=self.flips / self.count if self.count else math.nan,
            shift=self.shift / self.count if self.count else math.nan,
            largest=self.largest,
            rounding=math.sqrt(self.rounding),
            same=self.same,
            dtypes=(", ".join(self.dtypes[0]), ", ".join(self.dtypes[1])),
        )


@torch.no_grad()
def _sums(before: Tensor, after: Tensor) -> _Sums:
    old, new = (tensor.detach().to("cpu").flatten() for tensor in (before, after))
    coarse_old, coarse_new = _rounded(old, new)
    same = bool(((coarse_old == coarse_new) | (old.isnan() & new.isnan())).all())
    old, new = old.double(), new.double()
    gap = new - old
    off = torch.cat([old - coarse_old, new - coarse_new])
    return _Sums(
        count=len(old),
        squares=float(gap @ gap),
        before=float(old @ old),
        after=float(new @ new),
        product=float(old @ new),
        flips=int((old * new < 0).sum()),
        shift=float(gap.sum()),
        largest=float(gap.abs().max()) if len(gap) else 0.0,
        rounding=float(off @ off),
        same=same,
        dtypes=((_name(before),), (_name(after),)),
    )


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _rounded(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the coarser one's dtype, where both are floating point."""
    if before.dtype == after.dtype or not {before.dtype, after.dtype} <= FLOATS.keys():
        return before, after
    coarser = min(before.dtype, after.dtype, key=lambda dtype: FLOATS[dtype])
    return before.to(coarser), after.to(coarser)


def _spell(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _listed(names: Sequence[str], most: int = LISTED) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
