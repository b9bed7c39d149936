"""Freeze proof: a SHA-256 of every tensor in a frozen layer, before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labkit.core.errors import LabError
from labkit.weights.names import looks_like_buffer

if TYPE_CHECKING:
    from labkit.core.table import Table


@dataclass(frozen=True)
class FreezeProof:
    """What was frozen, and what of it is bit for bit as it was.

    Attributes:
        before, after: tensor name -> SHA-256 of its bytes, of all tensors in frozen layers;
            `after` is of the file that the run left.
        layers: the frozen layers.
    """

    before: dict[str, str]
    after: dict[str, str]
    layers: tuple[int, ...] = ()

    @property
    def moved(self) -> list[str]:
        """The tensors that are not what they were."""
        return [name for name, digest in self.before.items() if self.after.get(name) != digest]

    @property
    def moved_statistics(self) -> list[str]:
        """Those of them that no gradient moves: BatchNorm's running statistics."""
        return [name for name in self.moved if looks_like_buffer(name)]

    @property
    def held(self) -> bool:
        """Whether every tensor in the frozen layers is bit for bit the same."""
        return not self.moved

    def table(self) -> Table:
        """One row a tensor: its name, both hashes (shortened), whether they are equal."""
        from labkit.core.table import Table

        return Table(
            {
                "tensor": name,
                "before": digest[:12],
                "after": self.after.get(name, "")[:12],
                "same": self.after.get(name) == digest,
            }
            for name, digest in self.before.items()
        )

    def __str__(self) -> str:
        if not self.before:
            return "Nothing was frozen."
        what = f"{len(self.before)} tensors in {len(self.layers)} frozen layers"
        if self.held:
            return f"All {what} are bit for bit what they were."
        statistics = self.moved_statistics
        weights = [name for name in self.moved if name not in statistics]
        text = f"Of {what}, {len(self.moved)} moved."
        if statistics:
            text += (
                f" {len(statistics)} of them are statistics of BatchNorm: in training mode a "
                "layer takes each batch into its running mean and variance (and counts the "
                "batches), with no gradient and no optimizer. freeze_statistics=true keeps "
                "frozen layers in evaluation mode, where they do not."
            )
        if weights:
            text += f" {len(weights)} are weights, the first is {weights[0]}."
        return text


def check_layers(layers: Iterable[int], count: int) -> None:
    """Refuse layers that are not there, and a network with nothing left to train.

    Args:
        layers: the frozen ones.
        count: how many the network has; the last one is the detection head.

    Raises:
        LabError: a layer that is not there, or nothing is left to train.
    """
    chosen = set(layers)
    if beyond := sorted(layer for layer in chosen if layer >= count):
        raise LabError(
            f"layer {beyond[0]} cannot be frozen: the network has layers 0 to {count - 1}, and "
            f"{count - 1} is its detection head"
        )
    if chosen >= set(range(count)):
        raise LabError(
            f"freeze={count} leaves nothing to train: freeze={count - 1} trains the head alone"
        )


def frozen_tensors(tensors: Mapping[str, Tensor], layers: Iterable[int]) -> dict[str, Tensor]:
    """The tensors in frozen layers: `model.<layer>.…`."""
    starts = tuple(f"model.{layer}." for layer in layers)
    return {name: tensor for name, tensor in tensors.items() if name.startswith(starts)}


def fingerprints(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 of the bytes of each tensor, in row-major order, whatever its memory format."""
    return {name: hashlib.sha256(_bytes(tensor)).hexdigest() for name, tensor in tensors.items()}


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
