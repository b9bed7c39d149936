"""What a gradient check can be made of: weights by name, a loss, and a gradient given.

Two kinds: the 2-2-1 network with its backward pass by hand, and any module with autograd's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from labkit.toys.gradients.backprop import WEIGHTS, TinyNetwork

SAMPLES = 64  # of a recipe's task
Arrays = dict[str, np.ndarray]


class Checkable(Protocol):
    """Something with weights by name, a loss, and a gradient that is to be checked.

    Attributes:
        note: a remark for the reader where the check fails, or nothing.
    """

    note: str

    def gradient(self) -> Arrays: ...
    def difference(self, name: str, index: int, eps: float) -> float: ...
    def place(self, name: str, shape: tuple[int, ...], index: int) -> str: ...
    def rounded(self, precision: str) -> Checkable: ...
    def to_own(self) -> Any: ...
    def shapes(self) -> dict[str, tuple[int, ...]]: ...


TENSORS = {
    "w": ("w11", "w12", "w21", "w22"),
    "b": ("b1", "b2"),
    "v": ("v1", "v2"),
    "c": ("c",),
}


@dataclass
class Tiny:
    network: TinyNetwork
    x: tuple[float, float]
    target: float
    mistake: str = "none"
    kind: type = float
    note: str = ""

    def gradient(self) -> Arrays:
        by_weight = self.network.run(*self.x, self.target, self.mistake).gradient
        return {t: np.array([by_weight[n] for n in names]) for t, names in TENSORS.items()}

    def difference(self, name: str, index: int, eps: float) -> float:
        weight = TENSORS[name][index]
        high, low = (self._loss({weight: self.network.weights[weight] + e}) for e in (eps, -eps))
        return float((high - low) / self.kind(2 * eps))

    def _loss(self, changes: dict[str, float]) -> Any:
        if self.kind is float:
            return (self.network.replace(**changes).predict(*self.x) - self.target) ** 2
        # The same forward pass with every number rounded.
        n = {k: self.kind(v) for k, v in {**self.network.weights, **changes}.items()}
        x1, x2 = map(self.kind, self.x)
        activations: dict[str, Callable[[Any], Any]] = {
            "tanh": np.tanh,
            "sigmoid": lambda z: self.kind(1) / (self.kind(1) + np.exp(-z)),
            "relu": lambda z: np.maximum(z, self.kind(0)),
        }
        act = activations[self.network.activation]
        a1 = act(n["w11"] * x1 + n["w12"] * x2 + n["b1"])
        a2 = act(n["w21"] * x1 + n["w22"] * x2 + n["b2"])
        return (n["v1"] * a1 + n["v2"] * a2 + n["c"] - self.kind(self.target)) ** 2

    def place(self, name: str, shape: tuple[int, ...], index: int) -> str:
        return TENSORS[name][index]

    def rounded(self, precision: str) -> Checkable:
        kind = float if precision == "float64" else np.float32
        return Tiny(self.network, self.x, self.target, self.mistake, kind, self.note)

    def to_own(self) -> dict[str, float]:
        trace = self.network.run(*self.x, self.target)
        forward = ("", "hidden", "output", "error")
        return {n: number.value for n, number in trace.numbers.items() if number.stage in forward}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(WEIGHTS, ())


@dataclass
class Module:
    network: Any
    loss: Callable[..., Any]
    inputs: Any
    targets: Any
    note: str = ""
    parameters: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = {
            name: p for name, p in self.network.named_parameters() if p.requires_grad
        }
        if not self.parameters:
            raise LabError("this network has no weights with gradients: nothing to check")

    def _value(self) -> Any:
        return self.loss(self.network(self.inputs), self.targets)

    def gradient(self) -> Arrays:
        import torch

        found = torch.autograd.grad(
            self._value(), list(self.parameters.values()), allow_unused=True
        )
        return {
            name: np.zeros(tuple(p.shape)) if g is None else g.double().numpy()
            for (name, p), g in zip(self.parameters.items(), found, strict=True)
        }

    def difference(self, name: str, index: int, eps: float) -> float:
        import torch

        flat = self.parameters[name].data.view(-1)
        before = flat[index].clone()
        try:
            with torch.no_grad():
                flat[index] = before + eps
                high = self._value()
                flat[index] = before - eps
                low = self._value()
        finally:
            flat[index] = before
        return float(high - low) / (2 * eps)

    def place(self, name: str, shape: tuple[int, ...], index: int) -> str:
        return f"{name}[{', '.join(str(int(i)) for i in np.unravel_index(index, shape))}]"

    def rounded(self, precision: str) -> Checkable:
        import torch

        kind = getattr(torch, precision)
        network = copy.deepcopy(self.network).to(kind)
        inputs, targets = (
            t.to(kind) if t.is_floating_point() else t for t in (self.inputs, self.targets)
        )
        return Module(network, self.loss, inputs, targets, self.note)

    def to_own(self) -> Any:
        return self.network

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(p.shape) for name, p in self.parameters.items()}


def checkable(subject: Any, loss: Any, inputs: Any, targets: Any, mistake: str) -> Checkable:
    if isinstance(subject, TinyNetwork):
        try:
            x1, x2 = (float(x) for x in inputs)
            target = float(targets)
        except (TypeError, ValueError):
            raise LabError(
                f"inputs={inputs!r}, targets={targets!r}: a TinyNetwork takes two inputs and one "
                "target, as inputs=(1.0, -0.5), targets=1.0"
            ) from None
        subject.run(x1, x2, target, mistake)  # refuses an unknown mistake
        return Tiny(subject, (x1, x2), target, mistake)
    if mistake != "none":
        raise LabError(f"mistake={mistake!r}: only a TinyNetwork makes mistakes on purpose")
    if isinstance(subject, Recipe):
        return _of_recipe(subject)
    from torch import nn

    if not isinstance(subject, nn.Module):
        raise LabError(
            f"{type(subject).__name__} cannot be checked: give a Recipe, a TinyNetwork, or a "
            "module with loss=, inputs= and targets="
        )
    missing = [
        n for n, v in (("loss", loss), ("inputs", inputs), ("targets", targets)) if v is None
    ]
    if missing:
        raise LabError(
            f"a module is checked on data: {', '.join(missing)} is missing. For example "
            "gradient_check(network, nn.functional.mse_loss, inputs, targets)"
        )
    return _of_module(subject, loss, inputs, targets)


def _of_recipe(recipe: Recipe) -> Checkable:
    from torch.nn import functional as F

    from labkit.training.trainer import initial_network

    data = recipe.data()
    some = slice(SAMPLES)
    loss = F.cross_entropy if data.classes else F.mse_loss
    return _of_module(
        initial_network(recipe), loss, data.train_inputs[some], data.train_targets[some]
    )


def _of_module(network: Any, loss: Any, inputs: Any, targets: Any) -> Checkable:
    from torch import nn

    kinks = (nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.PReLU, nn.Hardtanh, nn.MaxPool2d, nn.L1Loss)
    kinked = any(isinstance(module, kinks) for module in network.modules())
    note = (
        "A kink (of a ReLU, say) that lies within eps of a sample looks like a mistake too: "
        "try a smaller eps."
        if kinked
        else ""
    )
    copied = copy.deepcopy(network).cpu().double().eval()  # dropout would change between passes
    x, y = (t.cpu().double() if t.is_floating_point() else t.cpu() for t in (inputs, targets))
    module = Module(copied, loss, x, y, note)
    value = module._value().detach()
    if value.ndim:
        raise LabError(
            f"loss gives {tuple(value.shape)} numbers: a gradient needs one, as their mean"
        )
    if not math.isfinite(float(value)):
        raise LabError(f"the loss is {float(value)} at these weights: it has no gradient to check")
    return module
