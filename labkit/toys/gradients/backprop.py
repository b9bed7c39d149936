"""A 2-2-1 network whose every number has a name: forward, backward and one step, by hand.

Two inputs `x1 x2`, two hidden units `z1 z2 -> a1 a2`, one output `y`, a target `t`, and the
squared error as loss. `wji` leads from input i to hidden unit j. All arithmetic is plain
Python; torch is used for comparison only (`autograd`).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.core.errors import LabError, unknown
from labkit.core.table import Table

WEIGHTS = ("w11", "w12", "b1", "w21", "w22", "b2", "v1", "v2", "c")
# What happens, in order; each number belongs to the stage in which it is first known.
STAGES = {
    "hidden": "Prediction: the hidden units",
    "output": "Prediction: the output",
    "error": "The error",
    "back_output": "Gradient: the output's weights",
    "back_hidden": "Gradient: back through the hidden units",
    "back_inputs": "Gradient: the first layer's weights",
    "step": "The step",
    "again": "The new prediction",
}
MISTAKES = {
    "none": "nothing is wrong",
    "factor": "the 2 of the squared error is forgotten",
    "sign": "the minus sign is lost: t - y instead of y - t",
    "activation_slope": "the activation's slope f'(z) is forgotten",
    "index": "w12 is given the gradient of w11",
    "bias": "the biases b1 and b2 are forgotten",
}
TOO_LARGE = 1e12  # a loss beyond this counts as diverged: its numbers no longer fit the picture


@dataclass(frozen=True)
class TinyActivation:
    """An activation: its value at z, its slope there from z and a, and both as formulas."""

    value: Callable[[float], float]
    slope: Callable[[float, float], float]
    formula: str
    slope_formula: str


def _sigmoid(z: float) -> float:
    # Either form overflows on one side.
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


TINY_ACTIVATIONS = {
    "tanh": TinyActivation(math.tanh, lambda z, a: 1 - a * a, "tanh({z})", "1 - {a}²"),
    "sigmoid": TinyActivation(
        _sigmoid, lambda z, a: a * (1 - a), "1/(1 + e^-{z})", "{a}·(1 - {a})"
    ),
    "relu": TinyActivation(
        lambda z: max(0.0, z),
        lambda z, a: 1.0 if z > 0 else 0.0,
        "max(0, {z})",
        "1 if {z} > 0 else 0",
    ),
}


def say(value: float, digits: int = 3) -> str:
    """A number as it stands in a formula: few digits, negative ones in brackets."""
    text = short(value, digits)
    return f"({text})" if text.startswith("-") else text


def short(value: float, digits: int = 3) -> str:
    """A number in few characters; a number that is not zero never reads as zero."""
    value = value or 0.0  # no "-0"
    if value != 0 and abs(value) < 0.5 * 10**-digits:
        return f"{value:.0e}".replace("e-0", "e-")
    rounded = f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.{digits}g}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded and "e" not in rounded else rounded


@dataclass(frozen=True)
class Number:
    """One number of a pass: its value, how it is computed, and the same with values filled in."""

    name: str
    value: float
    formula: str = ""
    filled: str = ""
    stage: str = ""

    @property
    def text(self) -> str:
        """All in one line: `a1 = tanh(z1) = tanh(0.5) = 0.462`."""
        # A plain copy (`dL/dc = dL/dy`) has no values to fill in.
        filled = self.filled if re.search(r"[·²(+]|-\d| ", self.filled[1:]) else ""
        parts = (self.name, self.formula, filled, short(self.value, 4))
        return " = ".join(part for part in parts if part)


@dataclass(frozen=True)
class TinyNetwork:
    """Nine weights: `a = f(w·x + b)` for two hidden units, `y = v1·a1 + v2·a2 + c`.

    Attributes:
        w11, w12, b1, w21, w22, b2: of the hidden units; `w12` leads from input 2 to unit 1.
        v1, v2, c: of the output.
        activation: tanh, sigmoid or relu.

    Raises:
        LabError: another activation, or a weight that is no finite number.
    """

    w11: float = 0.5
    w12: float = -0.3
    b1: float = 0.1
    w21: float = -0.4
    w22: float = 0.8
    b2: float = -0.2
    v1: float = 0.7
    v2: float = -0.6
    c: float = 0.1
    activation: str = "tanh"

    def __post_init__(self) -> None:
        if self.activation not in TINY_ACTIVATIONS:
            raise LabError(unknown("activation", self.activation, TINY_ACTIVATIONS))
        for name, value in self.weights.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise LabError(f"{name}={value!r}: give a number such as 0.5")
            if not math.isfinite(value):
                raise LabError(f"{name}={value!r} is not finite: give a number such as 0.5")

    @classmethod
    def draw(cls, seed: int, activation: str = "tanh") -> TinyNetwork:
        """Weights with one decimal, so that a reader can follow, none of them zero."""
        tenths = np.random.default_rng(seed).integers(2, 10, 9)
        signs = np.random.default_rng(seed + 1).choice([-1, 1], 9)
        values = (tenths * signs / 10).tolist()
        return cls(**dict(zip(WEIGHTS, values, strict=True)), activation=activation)

    @property
    def weights(self) -> dict[str, float]:
        """The nine by name."""
        return {name: getattr(self, name) for name in WEIGHTS}

    def replace(self, **changes: float | str) -> TinyNetwork:
        """Another network with some weights, or the activation, changed."""
        for name in changes:
            if name not in (*WEIGHTS, "activation"):
                raise LabError(unknown("weight", name, WEIGHTS))
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def predict(self, x1: float, x2: float) -> float:
        """The output for one pair of inputs."""
        f = TINY_ACTIVATIONS[self.activation].value
        a1 = f(self.w11 * x1 + self.w12 * x2 + self.b1)
        a2 = f(self.w21 * x1 + self.w22 * x2 + self.b2)
        return self.v1 * a1 + self.v2 * a2 + self.c

    def run(self, x1: float, x2: float, target: float, mistake: str = "none") -> Pass:
        """One forward and one backward pass, every number named.

        Args:
            x1, x2: the inputs.
            target: what the output should have been.
            mistake: a mistake to make on purpose in the backward pass; see MISTAKES.

        Raises:
            LabError: an unknown mistake.
        """
        if mistake not in MISTAKES:
            raise LabError(unknown("mistake", mistake, MISTAKES))
        numbers = {
            name: Number(name, float(value))
            for name, value in (("x1", x1), ("x2", x2), ("t", target), *self.weights.items())
        }
        sheet = _Sheet(numbers)
        _forward(sheet, TINY_ACTIVATIONS[self.activation])
        _backward(sheet, TINY_ACTIVATIONS[self.activation], mistake)
        return Pass(self, numbers, mistake)


_NAME = re.compile(r"dL/d[a-z0-9]+|f'\(z\d\)|\b[a-z]+\d*")
_TWICE = re.compile(r"\((\(-[^()]*\))\)")  # brackets around brackets
_FIRST = re.compile(r"^\((-[^()]*)\)(?!²)")  # brackets that nothing stands before


class _Sheet:
    """A pass while it is computed: each formula is kept with the numbers in it."""

    def __init__(self, numbers: dict[str, Number]) -> None:
        self.numbers = numbers

    def __getitem__(self, name: str) -> float:
        return self.numbers[name].value

    def put(self, stage: str, name: str, formula: str, value: float) -> None:
        def fill(found: re.Match[str]) -> str:
            known = self.numbers.get(found[0])
            return found[0] if known is None else say(known.value)

        filled = _FIRST.sub(r"\1", _TWICE.sub(r"\1", _NAME.sub(fill, formula)))
        self.numbers[name] = Number(name, value, formula, filled, stage)


def _forward(sheet: _Sheet, activation: TinyActivation) -> None:
    for j in "12":
        z = sheet[f"w{j}1"] * sheet["x1"] + sheet[f"w{j}2"] * sheet["x2"] + sheet[f"b{j}"]
        sheet.put("hidden", f"z{j}", f"w{j}1·x1 + w{j}2·x2 + b{j}", z)
        sheet.put("hidden", f"a{j}", activation.formula.format(z=f"z{j}"), activation.value(z))
    y = sheet["v1"] * sheet["a1"] + sheet["v2"] * sheet["a2"] + sheet["c"]
    sheet.put("output", "y", "v1·a1 + v2·a2 + c", y)
    sheet.put("error", "error", "y - t", y - sheet["t"])
    sheet.put("error", "loss", "error²", sheet["error"] * sheet["error"])


def _backward(sheet: _Sheet, activation: TinyActivation, mistake: str) -> None:
    """The chain rule, from the loss back to the first weights; with one mistake if asked."""
    error = sheet["error"]
    formula, slope = {
        "factor": ("error", error),
        "sign": ("-2·error", -2 * error),
    }.get(mistake, ("2·error", 2 * error))
    sheet.put("back_output", "dL/dy", formula, slope)
    for j in "12":
        sheet.put("back_output", f"dL/dv{j}", f"dL/dy·a{j}", slope * sheet[f"a{j}"])
    sheet.put("back_output", "dL/dc", "dL/dy", slope)
    for j in "12":
        to_a, local = slope * sheet[f"v{j}"], activation.slope(sheet[f"z{j}"], sheet[f"a{j}"])
        sheet.put("back_hidden", f"dL/da{j}", f"dL/dy·v{j}", to_a)
        formula = activation.slope_formula.format(z=f"z{j}", a=f"a{j}")
        sheet.put("back_hidden", f"f'(z{j})", formula, local)
        if mistake == "activation_slope":
            sheet.put("back_hidden", f"dL/dz{j}", f"dL/da{j}", to_a)
        else:
            sheet.put("back_hidden", f"dL/dz{j}", f"dL/da{j}·f'(z{j})", to_a * local)
    for j in "12":
        to_z = sheet[f"dL/dz{j}"]
        for i in "12":
            x = "x1" if (mistake, j, i) == ("index", "1", "2") else f"x{i}"
            sheet.put("back_inputs", f"dL/dw{j}{i}", f"dL/dz{j}·{x}", to_z * sheet[x])
        formula, value = ("0", 0.0) if mistake == "bias" else (f"dL/dz{j}", to_z)
        sheet.put("back_inputs", f"dL/db{j}", formula, value)


@dataclass(frozen=True)
class Pass:
    """One forward and one backward pass.

    Attributes:
        network: whose.
        numbers: each number by name, in the order in which they were computed.
        mistake: the mistake made on purpose, or `none`.
    """

    network: TinyNetwork
    numbers: dict[str, Number]
    mistake: str = "none"

    def __getitem__(self, name: str) -> float:
        """The value of a number: `trace["dL/dw11"]`."""
        if name not in self.numbers:
            raise LabError(unknown("number", name, self.numbers))
        return self.numbers[name].value

    @property
    def loss(self) -> float:
        return self["loss"]

    @property
    def gradient(self) -> dict[str, float]:
        """How the loss changes per unit of each weight, by the weight's name."""
        return {name: self[f"dL/d{name}"] for name in WEIGHTS}

    def at(self, stage: str) -> list[Number]:
        """The numbers that become known in a stage.

        Raises:
            LabError: an unknown stage.
        """
        if stage not in STAGES:
            raise LabError(unknown("stage", stage, STAGES))
        return [number for number in self.numbers.values() if number.stage == stage]

    def step(self, lr: float) -> tuple[TinyNetwork, list[Number]]:
        """Every weight moved against its gradient: the new network, and how each was computed.

        Args:
            lr: learning rate.

        Raises:
            LabError: the weights became infinite or NaN.
        """
        moved = []
        for name, slope in self.gradient.items():
            old = self[name]
            filled = f"{short(old)} - {say(lr)}·{say(slope)}"
            formula = f"{name} - lr·dL/d{name}"
            moved.append(Number(f"new {name}", old - lr * slope, formula, filled, "step"))
        if not all(math.isfinite(number.value) for number in moved):
            raise LabError(f"the weights became infinite: try a smaller lr than {lr:g}")
        values = dict(zip(WEIGHTS, (number.value for number in moved), strict=True))
        return self.network.replace(**values), moved

    def table(self) -> Table:
        """Every number beside autograd's, in float64, with the difference of the two."""
        reference = autograd(self.network, self["x1"], self["x2"], self["t"])
        return Table(
            {
                "number": number.name,
                "how": number.formula,
                "with numbers": number.filled,
                "by hand": number.value,
                "autograd": reference[number.name],
                "difference": number.value - reference[number.name],
            }
            for number in self.numbers.values()
            if number.stage
        )

    def largest_difference(self) -> float:
        """The largest absolute difference between a number here and autograd's."""
        reference = autograd(self.network, self["x1"], self["x2"], self["t"])
        return max(abs(self[name] - value) for name, value in reference.items())


def autograd(network: TinyNetwork, x1: float, x2: float, target: float) -> dict[str, float]:
    """The same numbers from torch in float64: the forward pass in matrices, then `backward()`.

    Returns:
        Every computed number of a `Pass`, by name.
    """
    import torch
    from torch.nn import functional as F

    def leaf(values: list) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    n = network
    w, b = leaf([[n.w11, n.w12], [n.w21, n.w22]]), leaf([n.b1, n.b2])
    v, c = leaf([n.v1, n.v2]), leaf([n.c])
    inputs = torch.tensor([x1, x2], dtype=torch.float64)
    z = F.linear(inputs, w, b)
    activation = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}[n.activation]
    (slope,) = torch.autograd.grad(activation(z).sum(), z, retain_graph=True)
    a = activation(z)
    y = F.linear(a, v[None], c)
    loss = F.mse_loss(y, torch.tensor([target], dtype=torch.float64))
    for tensor in (z, a, y):
        tensor.retain_grad()
    loss.backward()
    found: dict[str, Any] = {
        "y": y,
        "error": y - target,
        "loss": loss,
        "dL/dy": y.grad,
        "dL/dc": c.grad,
    }
    for j in (0, 1):
        found |= {f"z{j + 1}": z[j], f"a{j + 1}": a[j], f"f'(z{j + 1})": slope[j]}
        for name, tensor in (("z", z), ("a", a), ("v", v), ("b", b)):
            assert tensor.grad is not None
            found[f"dL/d{name}{j + 1}"] = tensor.grad[j]
        for i in (0, 1):
            assert w.grad is not None
            found[f"dL/dw{j + 1}{i + 1}"] = w.grad[j, i]
    return {name: float(tensor.detach()) for name, tensor in found.items()}


def descend(
    network: TinyNetwork, x1: float, x2: float, target: float, lr: float, updates: int
) -> tuple[TinyNetwork, list[float]]:
    """Update after update on one example.

    Returns:
        The network at the end, and the loss before each update and after the last.

    Raises:
        LabError: the loss grew beyond all bounds.
    """
    losses = [network.run(x1, x2, target).loss]
    for _ in range(updates):
        network, _numbers = network.run(x1, x2, target).step(lr)
        loss = network.run(x1, x2, target).loss
        if not loss < TOO_LARGE:
            raise LabError(
                f"the loss grew to {loss:.3g} in update {len(losses)}: "
                f"lr={lr:g} is too large, try {lr / 10:g}"
            )
        losses.append(loss)
    return network, losses
