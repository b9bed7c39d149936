"""The words of findings: names of layers, and changes spelled out."""

from __future__ import annotations

from collections.abc import Callable

from labkit.diagnosis.evidence import Evidence
from labkit.training.remedies import Changes


def change(make: Callable[..., Changes], run: Evidence, *more: float) -> Changes:
    """The changes of a remedy from `labkit.training.remedies`; none for a run without a recipe."""
    return make(run.recipe, *more) if run.recipe is not None else {}


def remedy(words: str, changes: Changes) -> str:
    """What to do, in words and as the changes spell it."""
    spelled = ", ".join(f"{name}={_spelled(value)}" for name, value in changes.items())
    return f"{words}: {spelled}." if spelled else f"{words}."


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value or "its defaults")


def layers(tensors: list[str]) -> list[str]:
    """The layers that own these weights."""
    return [tensor.removesuffix(".weight") for tensor in tensors]


def names(tensors: list[str]) -> str:
    """The same in words: `layer1, layer2 and output`."""
    *rest, last = layers(tensors)
    return f"{', '.join(rest)} and {last}" if rest else last
