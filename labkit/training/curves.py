"""Curves of a run, thinned so that a page can show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labkit.training.history import History

MOST = 200  # points of one curve
FILE = "curves.json"
_EVALUATIONS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


def curves(history: History) -> dict[str, dict[str, list[Any]]]:
    """The evaluations of a history, as JSON values: `{name: {"x", "y"}}`.

    `x` are steps. A history without evaluations gives the loss of its batches.
    """
    found = {name: history.curve(name) for name in _EVALUATIONS}
    if not len(found["train_loss"][0]):
        found = {"loss": history.curve("loss")}
    thinned = {name: thin(steps, values) for name, (steps, values) in found.items()}
    return {
        name: {"x": x, "y": y}
        for name, (x, y) in thinned.items()
        if any(value is not None for value in y)  # regression has no accuracy
    }


def thin(x: Iterable[Any], y: Iterable[Any], most: int = MOST) -> tuple[list[Any], list[Any]]:
    """A curve of at most `most` points: the first, the last, the lowest and the last finite
    one are kept, the rest evenly spaced; 6 digits, None for what is not finite.

    Args:
        x, y: numbers, equally many, in order; None counts as NaN.
        most: at least 4.
    """
    import numpy as np

    steps, values = np.array(list(x), np.float64), np.array(list(y), np.float64)
    chosen = np.arange(len(values))
    if len(values) > most:
        finite = chosen[np.isfinite(values)]
        marked = [finite[values[finite].argmin()], finite[-1]] if len(finite) else []
        even = np.linspace(0, len(values) - 1, most - len(marked)).round()
        chosen = np.union1d(even, marked).astype(int)
    return [_short(v) for v in steps[chosen].tolist()], [_short(v) for v in values[chosen].tolist()]


def _short(value: float) -> float | int | None:
    """Six digits, a whole number without its point; None where it is not finite."""
    if value - value != 0:
        return None
    short = float(f"{value:.6g}") if abs(value) < 1e6 else value
    return int(short) if short == int(short) and abs(short) < 2**53 else short
