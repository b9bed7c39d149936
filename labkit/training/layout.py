"""How named tensors lie one after another in one flat vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors in a flat vector, in their order.

    Attributes:
        names: one for each tensor.
        shapes: likewise.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def total(self) -> int:
        """The length of the flat vector."""
        return sum(self.sizes)

    @cached_property
    def _spans(self) -> dict[str, slice]:
        spans, start = {}, 0
        for name, size in zip(self.names, self.sizes, strict=True):
            spans[name] = slice(start, start + size)
            start += size
        return spans

    def span(self, name: str) -> slice:
        """Where `name` lies in the flat vector.

        Raises:
            KeyError: no such tensor; the message lists the known ones.
        """
        if name not in self._spans:
            raise KeyError(f"no tensor {name!r}; there are {', '.join(self.names)}")
        return self._spans[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of `name`."""
        return self.shapes[self.names.index(name)]

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """A flat vector `(total,)` as named arrays (views)."""
        return {
            name: flat[self._spans[name]].reshape(shape)
            for name, shape in zip(self.names, self.shapes, strict=True)
        }


def layout_of(network: nn.Module) -> Layout:
    """Names and shapes of a network's parameters."""
    named = list(network.named_parameters())
    return Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))
