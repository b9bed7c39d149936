"""The samples of an ensemble, and the shuffled batches that its members see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from labkit.recipe.tasks import Data

_BLOCK_BYTES = 16 * 2**20  # of shuffled samples, gathered at once


class Samples:
    """The members' data, with samples on the last axis; equal data are stored once.

    Args:
        data: one for each member, all of equal shapes.
        device: where to store it.
    """

    def __init__(self, data: Sequence[Data], device: torch.device) -> None:
        self.classes = data[0].classes
        distinct = list({id(one): one for one in data}.values())
        place = {id(one): number for number, one in enumerate(distinct)}
        self.which = torch.tensor([place[id(one)] for one in data], device=device)

        def stacked(name: str) -> Tensor:
            tensors = [getattr(one, name).movedim(0, -1) for one in distinct]
            return torch.stack(tensors).to(device)

        self.train_inputs, self.train_targets = stacked("train_inputs"), stacked("train_targets")
        self.val_inputs, self.val_targets = stacked("val_inputs"), stacked("val_targets")

    def of_members(self, tensor: Tensor) -> Tensor:
        """One of the tensors, a row for each member; a single one where they share it."""
        return tensor if len(tensor) == 1 else tensor[self.which]

    def keep(self, rows: Tensor) -> None:
        """Keep some members only."""
        self.which = self.which[rows]


class Batches:
    """An endless stream of batches, the same that `Trainer` gives each member.

    Each epoch has a new order, drawn with the member's seed; a last short batch is kept.

    Args:
        samples: the members' data.
        seeds: one for each member.
        size: samples in a batch.
    """

    def __init__(self, samples: Samples, seeds: Sequence[int], size: int) -> None:
        self._samples = samples
        self._size = size
        streams = list(dict.fromkeys(zip(samples.which.tolist(), seeds, strict=True)))
        place = {stream: number for number, stream in enumerate(streams)}
        self._data = torch.tensor([number for number, _ in streams], device=samples.which.device)
        self._generators = [torch.Generator().manual_seed(seed + 1) for _, seed in streams]
        pairs = zip(samples.which.tolist(), seeds, strict=True)
        self._stream = torch.tensor([place[pair] for pair in pairs], device=samples.which.device)
        self._block: list[tuple[Tensor, Tensor]] = []
        self._blocks = self._gather()

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Inputs `(members or 1, ..., batch)` and targets `(members or 1, ..., batch)`."""
        if not self._block:
            self._block = self._split(*next(self._blocks))
        return self._block.pop()

    def _gather(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Epochs in blocks of several batches, one gather for each."""
        samples = self._samples
        x, y = samples.train_inputs, samples.train_targets
        count = x.shape[-1]
        while True:
            orders = torch.stack([torch.randperm(count, generator=g) for g in self._generators])
            orders = orders.to(x.device)
            first = 0
            while first < count:
                each = 4 * x[0, ..., 0].numel() * self._size * len(self._stream)
                several = self._size * max(1, _BLOCK_BYTES // each)
                chosen = orders[:, first : first + several]
                first += several
                yield self._pick(x, chosen), self._pick(y, chosen)

    def _pick(self, tensor: Tensor, orders: Tensor) -> Tensor:
        """Each member's samples in its own order; a single row where all have the same."""
        if len(orders) == 1:
            return tensor[int(self._data[0])].index_select(-1, orders[0]).unsqueeze(0)
        streams = self._stream
        orders = orders[streams]
        data = self._data[streams]
        found = tensor[data[:, None], ..., orders]  # (members, chosen, ...)
        return found.movedim(1, -1).contiguous()

    def _split(self, inputs: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
        size = self._size
        return list(zip(inputs.split(size, -1), targets.split(size, -1), strict=True))[::-1]

    def keep(self, rows: Tensor) -> None:
        """Keep some members only."""
        self._stream = self._stream[rows]
        self._block = [
            (x if len(x) == 1 else x[rows], y if len(y) == 1 else y[rows]) for x, y in self._block
        ]
