"""The decorator that makes a figure, and numpy helpers that never loop over steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

Spec = dict[str, Any]
P = ParamSpec("P")

POINTS = 256  # the most points of one line; thinning leaves between half and all of them


class Builder(Generic[P]):
    """A figure: call it for a `go.Figure`, or `.spec(...)` for the plain dict.

    The dict is what the live painter takes, many times a second: plotly does not validate it.
    """

    def __init__(self, build: Callable[P, Spec]) -> None:
        functools.update_wrapper(self, build)
        self.spec = build

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> go.Figure:
        import plotly.graph_objects as go

        return go.Figure(self.spec(*args, **kwargs))


def figure(build: Callable[P, Spec]) -> Builder[P]:
    """Decorator: make a pure function from records to a plotly dict a figure.

    The dict is `{"data": [...], "layout": {...}}` with numpy arrays inside. Its layout and
    the number and kinds of its traces should stay the same while a run goes on.
    """
    return Builder(build)


def thin(count: int, most: int = POINTS) -> np.ndarray:
    """At most `most + 1` indices into `count` points, the first and the last included.

    The stride is a power of two, so points stay where they are until it doubles.
    """
    stride = 1 << max(0, math.ceil(math.log2(max(count, 1) / most)))
    index = np.arange(0, count, stride)
    if count and index[-1] != count - 1:
        index = np.append(index, count - 1)
    return index


def finite(values: np.ndarray) -> np.ndarray:
    """The same numbers as float64, with NaN for every infinity."""
    values = np.array(values, np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def positive(values: np.ndarray) -> np.ndarray:
    """The values that a log axis can show (finite and above zero); NaN elsewhere."""
    values = finite(values)
    values[~(values > 0)] = np.nan
    return values


def smooth(values: np.ndarray, window: int, most: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """A trailing mean over about `window` values, at the indices of `thin(len(values))`.

    Returns the indices and the means. Infinities and NaN do not count; the mean of a
    window without a finite value is NaN.
    """
    index = thin(len(values), most)
    good = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(good)])
    first = np.maximum(index + 1 - max(1, window), 0)
    number = count[index + 1] - count[first]
    means = (total[index + 1] - total[first]) / np.maximum(number, 1)
    return index, np.where(number > 0, means, np.nan)


def nice(value: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `value` (> 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if factor * power >= value * (1 - 1e-9):
            return float(f"{factor * power:.6g}")
    raise AssertionError("unreachable")


def extent(*arrays: np.ndarray) -> tuple[float, float] | None:
    """The smallest and the largest finite number, or None where there is none."""
    lows, highs = [], []
    for array in arrays:
        if array.size:
            low, high = np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)
            if not (np.isfinite(low) and np.isfinite(high)):
                array = array[np.isfinite(array)]
                if not array.size:
                    continue
                low, high = array.min(), array.max()
            lows.append(float(low))
            highs.append(float(high))
    return (min(lows), max(highs)) if lows else None


def limits(*arrays: np.ndarray) -> list[float]:
    """Linear axis limits around all finite numbers, rounded outward so that they rarely move."""
    low, high = extent(*arrays) or (0.0, 0.0)
    if high - low <= 1e-6 * max(abs(low), abs(high)):  # constant: give it room on both sides
        room = max(abs(low), abs(high)) or 1.0
        low, high = low - room, high + room
    step = nice((high - low) / 8)
    return [math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step]


def bound(*arrays: np.ndarray) -> float:
    """A rounded magnitude that no finite number exceeds, for colour ranges around zero."""
    low, high = extent(*arrays) or (0.0, 0.0)
    largest = max(abs(low), abs(high))
    return nice(largest) if largest > 0 else 1.0


def decades(*arrays: np.ndarray) -> list[float]:
    """Log axis limits (exponents of ten) around all positive numbers, at 1, 2 or 5 of a decade."""
    low, high = extent(*(a[a > 0] for a in arrays)) or (0.1, 1.0)
    down, up = -math.log10(nice(1 / max(low, 1e-300))), math.log10(nice(high))
    return [down, up if up > down else down + 1.0]
