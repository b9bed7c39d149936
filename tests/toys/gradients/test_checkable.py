from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from labkit.toys.gradients.backprop import TinyNetwork
from labkit.toys.gradients.checkable import SAMPLES, TENSORS, Module, Tiny, checkable

INPUTS = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))


def two_layers() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))


def of_module(network=None, **more) -> Module:
    given = {"loss": functional.mse_loss, "inputs": INPUTS, "targets": TARGETS, **more}
    made = checkable(network or two_layers(), **given, mistake="none")
    assert isinstance(made, Module)
    return made


def tiny(activation: str = "tanh", mistake: str = "none") -> Tiny:
    made = checkable(TinyNetwork(activation=activation), None, (1.0, -0.5), 1.0, mistake)
    assert isinstance(made, Tiny)
    return made


def tiny_in_torch(one: Tiny) -> dict[str, float]:
    """The gradient of the 2-2-1 network's loss, by autograd."""
    w = {k: torch.tensor(float(v), requires_grad=True) for k, v in one.network.weights.items()}
    functions = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
    f, (x1, x2) = functions[one.network.activation], one.x
    a1 = f(w["w11"] * x1 + w["w12"] * x2 + w["b1"])
    a2 = f(w["w21"] * x1 + w["w22"] * x2 + w["b2"])
    ((w["v1"] * a1 + w["v2"] * a2 + w["c"] - one.target) ** 2).backward()
    return {name: float(v.grad) for name, v in w.items()}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_the_tiny_networks_gradient_and_differences_are_autograds(activation):
    one, expected = tiny(activation), tiny_in_torch(tiny(activation))
    found = one.gradient()
    for tensor, names in TENSORS.items():
        assert found[tensor] == pytest.approx([expected[n] for n in names], abs=1e-6)
        for index, name in enumerate(names):
            assert one.difference(tensor, index, 1e-5) == pytest.approx(expected[name], abs=1e-6)
            assert one.place(tensor, (len(names),), index) == name


def test_a_mistake_is_in_the_gradient_and_not_in_the_differences():
    wrong, right = tiny(mistake="sign"), tiny()
    assert any(not np.allclose(wrong.gradient()[t], right.gradient()[t]) for t in TENSORS)
    assert wrong.difference("w", 0, 1e-5) == right.difference("w", 0, 1e-5)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_rounded_numbers_make_differences_coarse(activation):
    one, expected = tiny(activation), tiny_in_torch(tiny(activation))["v1"]
    rounded = one.rounded("float32")
    errors = [abs(each.difference("v", 0, 1e-6) - expected) for each in (one, rounded)]
    assert errors[0] < 1e-6
    assert errors[1] == pytest.approx(0, abs=1.0)
    assert rounded.difference("v", 0, 1e-2) == pytest.approx(expected, abs=1e-3)


def test_a_modules_gradient_is_autograds_and_its_differences_agree():
    one, network = of_module(), two_layers().double().eval()
    functional.mse_loss(network(INPUTS.double()), TARGETS.double()).backward()
    found = one.gradient()
    assert list(found) == [name for name, _ in network.named_parameters()]
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=1e-9, atol=1e-12)
        for index in range(parameter.numel()):
            wanted = float(parameter.grad.view(-1)[index])
            assert one.difference(name, index, 1e-6) == pytest.approx(wanted, abs=1e-8)
    assert one.shapes() == {"0.weight": (4, 3), "0.bias": (4,), "3.weight": (2, 4), "3.bias": (2,)}
    assert one.place("0.weight", (4, 3), 5) == "0.weight[1, 2]"


def test_the_checked_module_is_a_copy_and_a_difference_puts_weights_back():
    network = two_layers()
    before = {name: p.clone() for name, p in network.named_parameters()}
    one = of_module(network)
    copied = {name: p.clone() for name, p in one.parameters.items()}
    one.difference("0.weight", 0, 0.5)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    assert all(torch.equal(p, copied[name]) for name, p in one.parameters.items())
    assert network.training
    assert next(network.parameters()).dtype == torch.float32


def test_frozen_weights_are_left_out_and_unused_ones_have_no_gradient():
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(3, 2), nn.Linear(1, 1)
            self.spare.bias.requires_grad_(False)

        def forward(self, x):
            return self.used(x)

    found = of_module(Unused()).gradient()
    assert list(found) == ["used.weight", "used.bias", "spare.weight"]
    assert not found["spare.weight"].any()
    with pytest.raises(LabError, match="no weights with gradients"):
        of_module(nn.Flatten(), targets=INPUTS)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_module_in_another_precision(precision):
    one = of_module().rounded(precision)
    assert {p.dtype for p in one.parameters.values()} == {getattr(torch, precision)}
    assert one.inputs.dtype == getattr(torch, precision)


@pytest.mark.parametrize("task", ["moons", "regression", "digits"])
def test_a_recipe_is_checked_on_samples_of_its_task(task):
    recipe = Recipe(task=task, hidden=(3,), samples=200, device="cpu")
    one = checkable(recipe, None, None, None, "none")
    assert len(one.inputs) == SAMPLES
    assert set(one.shapes()) == {"layer1.weight", "layer1.bias", "output.weight", "output.bias"}
    assert one.inputs.dtype == torch.float64


@pytest.mark.parametrize(("layer", "noted"), [(nn.ReLU(), True), (nn.Tanh(), False)])
def test_a_kink_is_mentioned(layer, noted):
    one = of_module(nn.Sequential(nn.Linear(3, 2), layer))
    assert ("smaller eps" in one.note) is noted


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((TinyNetwork(), None, (1.0,), 1.0, "none"), "takes two inputs and one target"),
        ((Recipe(), None, None, None, "sign"), "only a TinyNetwork makes mistakes"),
        (([1.0], None, None, None, "none"), "list cannot be checked"),
        ((nn.Linear(3, 2), None, INPUTS, None, "none"), "loss, targets is missing"),
        (
            (nn.Linear(3, 2), lambda out, wanted: (out - wanted) ** 2, INPUTS, TARGETS, "none"),
            "a gradient needs one",
        ),
        (
            (nn.Linear(3, 2), lambda out, wanted: out.sum() * torch.inf, INPUTS, TARGETS, "none"),
            "it has no gradient to check",
        ),
    ],
)
def test_what_cannot_be_checked_says_so(arguments, part):
    with pytest.raises(LabError, match=part):
        checkable(*arguments)
