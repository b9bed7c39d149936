"""Names of tensors: which layer one belongs to, and which ones a user means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from labkit.core.errors import LabError, unknown

# What BatchNorm and its like keep beside their parameters, where only names are known.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def layer_of(name: str) -> str:
    """The layer a tensor belongs to: its name up to and including the first number.

    `model.10.m.0.attn.qkv.conv.weight` is of `model.10`; without a number it is the name
    of the owning module (`layer1.weight` of `layer1`, a bare `weight` of `weight`).
    """
    parts = name.split(".")
    for place, part in enumerate(parts[:-1]):
        if part.isdigit():
            return ".".join(parts[: place + 1])
    return ".".join(parts[:-1]) or name


def layers(names: Iterable[str]) -> list[str]:
    """The layers that `names` belong to, in their order (of depth, in a `state_dict`)."""
    return list(dict.fromkeys(map(layer_of, names)))


def looks_like_buffer(name: str) -> bool:
    """Whether a tensor of a file that does not say is a statistic of a normalization."""
    return name.rpartition(".")[2] in _BUFFERS


def select(names: Sequence[str], wanted: str | Iterable[str] | None) -> list[str]:
    """The names that are wanted, in the order of `names`.

    Args:
        names: all there are.
        wanted: a name or a prefix that ends at a dot (`model.1` is not in `model.10`), or
            several; None, `"all"` or nothing for all of them.

    Raises:
        LabError: something wanted names no tensor; the message has the nearest name.
    """
    requested = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if not requested or requested == ["all"]:
        return list(names)
    found: set[str] = set()
    for one in requested:
        mine = [name for name in names if name == one or name.startswith(f"{one}.")]
        if not mine:
            raise LabError(unknown("layer", one, layers(names)))
        found.update(mine)
    return [name for name in names if name in found]
