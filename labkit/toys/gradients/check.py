"""Is this gradient right? It is compared with central differences, which are independent.

A derivative is the limit of `(L(w + ε) - L(w - ε)) / 2ε`. Computed as it stands (central
differences, with two forward passes for each weight) it is slow, and it cannot share a
mistake with the backward pass: that is what makes it a check. It must be made in float64:
the rounding of float32, divided by a small ε, would hide all but the largest mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.core.errors import LabError, misnamed
from labkit.core.table import Table
from labkit.core.threads import one_thread
from labkit.recipe.recipe import Recipe
from labkit.toys.gradients.backprop import TinyNetwork
from labkit.toys.gradients.checkable import TENSORS, Arrays, Checkable, Tiny, checkable
from labkit.toys.gradients.derivatives import crash

EPS = 1e-5
TOLERANCE = 1e-4  # of the relative error: above it the check fails
MOST = 50  # weights measured in each tensor
CURVE = np.logspace(-13, 0, 27)


@dataclass(frozen=True)
class Checked:
    """One tensor: its gradient as given, and as measured, at the weights that were measured."""

    tensor: str
    places: tuple[str, ...]
    given: np.ndarray
    measured: np.ndarray
    error: float

    @property
    def worst(self) -> int:
        """The index of the largest difference."""
        return int(np.abs(self.given - self.measured).argmax())


@dataclass(frozen=True)
class GradientCheck:
    """What a check found, tensor by tensor.

    The relative error of a tensor is its largest difference divided by its largest
    gradient (given or measured). A tensor whose gradients are below 1/10,000 of the
    network's largest is held to that much: below that, rounding dominates.

    Attributes:
        tensors: one entry a tensor.
        eps: how far each weight was moved, both ways.
        tolerance: the relative error above which the check fails.
        note: a remark for the reader, or nothing.
    """

    tensors: list[Checked]
    eps: float
    tolerance: float
    note: str = ""

    @property
    def error(self) -> float:
        """The worst relative error."""
        return max(item.error for item in self.tensors)

    @property
    def errors(self) -> dict[str, float]:
        """The relative error of each tensor."""
        return {item.tensor: item.error for item in self.tensors}

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    @property
    def message(self) -> str:
        """One sentence: right, or where it is wrong and by how much."""
        if self.passed:
            where = f"the worst relative error is {self.error:.1e}"
            return f"Right: both ways give the same gradient; {where}."
        wrong = [item for item in self.tensors if not item.error <= self.tolerance]
        worst = max(wrong, key=lambda item: item.error)
        i = worst.worst
        names = ", ".join(item.tensor for item in wrong)
        return (
            f"Wrong in {names}: at {worst.places[i]} the gradient given is "
            f"{worst.given[i]:.4g}, the measured one {worst.measured[i]:.4g}. {self.note}"
        ).strip()

    def table(self) -> Table:
        """One row a tensor, at its worst weight."""
        return Table(
            {
                "tensor": item.tensor,
                "weights measured": len(item.places),
                "worst at": item.places[item.worst],
                "gradient given": float(item.given[item.worst]),
                "measured": float(item.measured[item.worst]),
                "relative error": float(f"{item.error:.2g}"),
                "right": item.error <= self.tolerance,
            }
            for item in self.tensors
        )

    def _repr_html_(self) -> str:
        import html

        return f"<p><b>{html.escape(self.message)}</b></p>{self.table()._repr_html_()}"

    def __repr__(self) -> str:
        return f"{self.message}\n{self.table()!r}"


@one_thread()
def gradient_check(
    subject: Recipe | TinyNetwork | Any,
    loss: Callable[..., Any] | None = None,
    inputs: Any = None,
    targets: Any = None,
    *,
    eps: float = EPS,
    tolerance: float = TOLERANCE,
    mistake: str = "none",
    gradient: Callable[..., Any] | None = None,
    most: int = MOST,
    seed: int = 0,
) -> GradientCheck:
    """Compare a gradient with central differences, in float64.

    Args:
        subject: a `Recipe` (its network, loss and data), a `TinyNetwork` (its own backward
            pass), or any `nn.Module`.
        loss: of a module: `loss(outputs, targets)` gives one number.
        inputs, targets: of a module, two tensors; of a `TinyNetwork`, `(x1, x2)` and a number.
        eps: how far each weight is moved, both ways.
        tolerance: the relative error above which the check fails.
        mistake: for a `TinyNetwork`, a mistake to make on purpose in the backward pass.
        gradient: a gradient of your own instead of the backward pass. It is given the
            numbers of the forward pass by name (`TinyNetwork`) or the module, and returns
            a mapping from each weight's or tensor's name to its gradient.
        most: how many weights of each tensor are measured, drawn by `seed`.

    Raises:
        LabError: something is missing or does not fit, or `gradient` returns what is no
            gradient; the message says what would be.
    """
    _check_eps(eps)
    who = checkable(subject, loss, inputs, targets, mistake)
    given = who.gradient() if gradient is None else _own(gradient, who)
    chosen = _choose(given, most, seed)
    measured = _measure(who, chosen, eps)
    floor = 1e-4 * max((float(np.abs(g).max(initial=0)) for g in given.values()), default=0)
    tensors = []
    for name, index in chosen.items():
        mine = given[name].ravel()[index]
        places = tuple(who.place(name, given[name].shape, i) for i in index)
        error = _relative(mine, measured[name], floor)
        tensors.append(Checked(name, places, mine, measured[name], error))
    return GradientCheck(tensors, eps, tolerance, who.note)


@one_thread()
def errors_by_eps(
    subject: Recipe | TinyNetwork | Any,
    loss: Callable[..., Any] | None = None,
    inputs: Any = None,
    targets: Any = None,
    *,
    mistake: str = "none",
    eps: np.ndarray = CURVE,
    most: int = 5,
    seed: int = 0,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The worst relative error for each of many ε, in float64 and in float32.

    A large ε misses the curve between the two points (truncation: the error grows as ε²),
    a small one divides rounding errors by almost nothing (it grows as 1/ε).

    Args:
        subject, loss, inputs, targets, mistake, most, seed: as for `gradient_check`.
        eps: the ε to try, `(n,)`.

    Returns:
        `eps`, and for each precision the errors `(n,)`.

    Raises:
        LabError: as `gradient_check`.
    """
    who = checkable(subject, loss, inputs, targets, mistake)
    given = who.gradient()
    chosen = _choose(given, most, seed)
    floor = 1e-4 * max((float(np.abs(g).max(initial=0)) for g in given.values()), default=0)
    found: dict[str, np.ndarray] = {}
    for precision in ("float64", "float32"):
        in_it = who.rounded(precision)
        errors = []
        for size in eps:
            measured = _measure(in_it, chosen, float(size))
            errors.append(
                max(_relative(given[n].ravel()[i], measured[n], floor) for n, i in chosen.items())
            )
        found[precision] = np.array(errors)
    return np.asarray(eps), found


def _check_eps(eps: Any) -> None:
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps <= 1:
        raise LabError(f"eps={eps!r} is not allowed: give a number above 0 and up to 1, as 1e-5")


def _choose(given: Arrays, most: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.sort(rng.permutation(values.size)[:most]) for name, values in given.items()}


def _measure(who: Checkable, chosen: dict[str, np.ndarray], eps: float) -> Arrays:
    return {
        name: np.array([who.difference(name, int(i), eps) for i in index])
        for name, index in chosen.items()
    }


def _relative(given: np.ndarray, measured: np.ndarray, floor: float) -> float:
    largest = max(np.abs(given).max(initial=0), np.abs(measured).max(initial=0), floor)
    difference = np.abs(given - measured).max(initial=0)
    return float(difference / largest) if largest > 0 else 0.0


# --- a learner's own -------------------------------------------------------------------


def _own(gradient: Callable[..., Any], who: Checkable) -> Arrays:
    """What a learner's function returns, as arrays, or an explanation why it cannot be."""
    name = getattr(gradient, "__name__", "gradient")
    try:
        found = gradient(who.to_own())
    except Exception as error:
        raise LabError(crash(name, error, "")) from None
    shapes = who.shapes()
    example = next(iter(shapes))
    if found is None:
        raise LabError(f"{name} returned None: end it with `return {{{example!r}: …}}`")
    if not isinstance(found, Mapping):
        raise LabError(
            f"{name} returned {type(found).__name__}: return a dict with a gradient for each of "
            + ", ".join(shapes)
        )
    for key in found:
        if key not in shapes:
            raise LabError(misnamed(f"{name} returned {key!r}", key, shapes))
    missing = [key for key in shapes if key not in found]
    if missing:
        raise LabError(f"{name} returned no gradient for {', '.join(missing)}")
    arrays: Arrays = {}
    for key, shape in shapes.items():
        try:
            values = np.asarray(found[key], dtype=np.float64)
        except (TypeError, ValueError, RuntimeError):
            kind = type(found[key]).__name__
            raise LabError(f"{name}[{key!r}] is {kind}: a gradient is made of numbers") from None
        if values.shape != shape:
            raise LabError(
                f"{name}[{key!r}] has shape {values.shape}: a gradient has the shape of its "
                f"weight, {shape}"
            )
        if not np.isfinite(values).all():
            raise LabError(f"{name}[{key!r}] holds NaN or infinity: look for a division by zero")
        arrays[key] = values
    if isinstance(who, Tiny):
        return {t: np.array([arrays[n] for n in names]) for t, names in TENSORS.items()}
    return arrays
