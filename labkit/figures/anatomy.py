"""All tensors of a network in one picture, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.figures.base import Spec, figure
from labkit.figures.by_depth import by_depth

if TYPE_CHECKING:  # torch stays out of figures
    from labkit.weights.anatomy import TensorInfo
    from labkit.weights.compare import Change

FACTS = {
    "count": "count",
    "std": "std",
    "norm": "norm (L2)",
    "sparsity": "sparsity",
    "used rank": "effective rank,<br>share of full",
}
CHANGES = {
    "relative": "distance /<br>norm before",
    "angle": "angle (degrees)",
    "signs flipped": "signs flipped",
    "mean shift": "mean shift",
}


@figure
def tensors_by_depth(tensors: Sequence[TensorInfo]) -> Spec:
    """Every tensor of a network: count, std, norm, sparsity and effective rank by depth.

    Buffers are hidden until their name in the legend is clicked.

    Args:
        tensors: from `labkit.weights.anatomy`.
    """
    rows = []
    for info in tensors:
        rank = info.rank / info.full_rank if info.full_rank else None
        rows.append({**info.facts(), "used rank": rank})
    return by_depth.spec(
        rows,
        FACTS,
        label="tensor",
        layers=[info.place for info in tensors],
        log=("count", "std", "norm"),
        shares=("sparsity", "used rank"),
        hidden=("buffer",),
        no_hover=("used rank",),
    )


@figure
def changes_by_depth(changes: Sequence[Change]) -> Spec:
    """How far every tensor, or layer, moved and in which direction, by depth.

    A tensor that did not move at all is a cross at the lower edge.

    Args:
        changes: a `Comparison`, or its `layers`.
    """
    rows = [{**change.row(), "angle": change.angle} for change in changes]
    return by_depth.spec(
        rows,
        CHANGES,
        label="layer" if rows and "layer" in rows[0] else "tensor",
        layers=[change.place for change in changes],
        log=("relative",),
    )
