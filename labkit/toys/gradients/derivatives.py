"""A learner's derivative of a loss, checked against autograd's, and explained where it is wrong."""

from __future__ import annotations

import html
import inspect
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.toys.gradients.losses import LOSSES, evaluate


@dataclass(frozen=True)
class DerivativeCheck:
    """A learner's derivative of a loss beside autograd's.

    Attributes:
        passed: whether they agree everywhere.
        message: one sentence: right, or what is wrong and where.
        loss: the loss, in words.
        output: the predictions they were compared at, `(n,)`.
        target: what was wanted.
        given: the learner's slopes `(n,)`, or None where the function gave none.
        expected: autograd's, `(n,)`.
        kind: of the loss: regression or classification.
    """

    passed: bool
    message: str
    loss: str
    output: np.ndarray
    target: float
    given: np.ndarray | None
    expected: np.ndarray
    kind: str = "regression"

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        color = (
            "var(--jp-success-color1,#2e7d32)" if self.passed else ("var(--jp-warn-color0,#b35900)")
        )
        return f"<p><b style='color:{color}'>{html.escape(self.message)}</b></p>"


def check_derivative(
    function: Callable[[float, float], float],
    loss: str = "mse",
    *,
    target: float | None = None,
    **arguments: Any,
) -> DerivativeCheck:
    """Compare a derivative that a learner wrote with autograd's, at many predictions.

    A function that cannot be right (it stops, or returns None, NaN or several numbers) is
    explained, not raised: the rest of a notebook runs on.

    Args:
        function: `function(prediction, target)` with two plain numbers (for a
            classification `function(logit, target)`) gives the slope of the loss.
        loss: which loss of `LOSSES`.
        target: what was wanted: by default 0.5 for a regression, 1 for a classification.
        arguments: the loss' own, such as `delta=0.5`.

    Raises:
        RecipeError: an unknown loss or argument.
    """
    kind = LOSSES[loss].traits["kind"]
    if target is None:
        target = 0.5 if kind == "regression" else 1.0
    output = target + np.linspace(-4, 4, 80)  # an even number: no kink is hit
    _, expected = evaluate(loss, output, target, arguments)
    inner = ", ".join(f"{key}={value:g}" for key, value in arguments.items())
    words = f"{loss}({inner})" if inner else loss
    given, why = _ask(function, output, float(target))
    if given is not None:
        why = _judge(getattr(function, "__name__", "it"), given, expected, output, target)
    message = why or f"Right: at all {len(output)} predictions it is the slope of {words}."
    return DerivativeCheck(not why, message, words, output, float(target), given, expected, kind)


def _ask(function: Any, output: np.ndarray, target: float) -> tuple[np.ndarray | None, str]:
    """A learner's slopes, or None and why there are none."""
    if not callable(function):
        return None, f"{function!r} is no function: write `def slope(prediction, target): …`"
    name = getattr(function, "__name__", "it")
    try:
        inspect.signature(function).bind(0.0, 0.0)
    except TypeError:
        return None, f"{name} must take two numbers: `def {name}(prediction, target): …`"
    except ValueError:
        pass  # a builtin without a signature
    slopes = []
    for place in output.tolist():
        where = f" (at prediction {place:.3g}, target {target:g})"
        try:
            slope = function(place, target)
        except Exception as error:
            return None, crash(name, error, where)
        if slope is None:
            return None, f"{name} returned None{where}: end it with `return …`"
        try:
            values = np.asarray(slope, dtype=np.float64)
        except (TypeError, ValueError, RuntimeError):
            return None, f"{name} returned {slope!r:.40}{where}: return a number"
        if values.size != 1:
            return None, (
                f"{name} returned {values.size} numbers{where}: one prediction has one slope"
            )
        slopes.append(float(values.reshape(())))
        if not math.isfinite(slopes[-1]):
            return None, f"{name} returned {slopes[-1]}{where}: look for a division by zero"
    return np.array(slopes), ""


def _judge(
    name: str, given: np.ndarray, expected: np.ndarray, output: np.ndarray, target: float
) -> str:
    """What is wrong with a learner's slopes; empty if nothing is."""
    scale = np.abs(expected).max()
    wrong = np.abs(given - expected) > 1e-6 * scale
    if not wrong.any():
        return ""
    worst = int(np.abs(given - expected).argmax())
    at = (
        f"at prediction {output[worst]:.3g}, target {target:g}, {name} says {given[worst]:.4g} "
        f"and autograd {expected[worst]:.4g}"
    )
    known = np.abs(expected) > 1e-6 * scale
    ratios = given[known] / expected[known]
    if np.ptp(ratios) < 1e-6 * max(1.0, np.abs(ratios).max()) and not given[~known].any():
        if abs(ratios[0] + 1) < 1e-6:
            return f"Not yet: the sign is the wrong way round: {at}."
        if abs(ratios[0]) < 1e-12:
            return f"Not yet: it is 0 everywhere: {at}."
        return f"Not yet: everywhere it is {ratios[0]:.3g} times what it should be: {at}."
    far = np.abs(output - target)
    if not wrong[far < 0.8 * far[wrong].min()].any() and (~wrong).sum() >= 4:
        return (
            f"Not yet: right up to an error of about {far[~wrong].max():.2g}, wrong beyond: {at}."
        )
    return f"Not yet: {at}."


def crash(name: str, error: Exception, where: str) -> str:
    """An exception of a learner's function in one sentence, with the line it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.name == name]
    line = f", in its line `{frames[-1].line}`" if frames and frames[-1].line else ""
    return f"{name} stopped with {type(error).__name__}: {error}{line}{where}"
