from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import labkit
from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from labkit.toys.gradients.backprop import MISTAKES, TinyNetwork
from labkit.toys.gradients.check import errors_by_eps, gradient_check

TINY = TinyNetwork.draw(0)
X = {"inputs": (0.9, -0.6), "targets": 0.8}
SMALL = Recipe(task="moons", hidden=(4,), samples=60, device="cpu")


class Wrong(torch.autograd.Function):
    """Doubles, and says its slope is 3."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


class WrongLayer(nn.Module):
    def forward(self, x):
        return Wrong.apply(x)


def module(*middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *middle, nn.Linear(4, 1))


def data(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, generator=generator), torch.randn(8, 1, generator=generator)


# --- what is right ---------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_the_backward_pass_by_hand_is_right(activation):
    check = gradient_check(TinyNetwork.draw(0, activation), **X)
    assert check.passed
    assert check.error < 1e-8
    assert list(check.errors) == ["w", "b", "v", "c"]
    assert check.message.startswith("Right")


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sigmoid"])
def test_autograd_is_right_on_a_recipes_network(activation):
    check = gradient_check(SMALL.replace(activation=activation, hidden=(4, 4)))
    assert check.passed
    assert check.error < 1e-6
    assert list(check.errors) == [
        "layer1.weight", "layer1.bias", "layer2.weight", "layer2.bias",
        "output.weight", "output.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("recipe", [Recipe(task="digits", network="cnn", hidden=(2,)), SMALL])
def test_only_as_many_weights_as_asked_for_are_measured(recipe):
    check = gradient_check(recipe, most=3, seed=2)
    assert max(len(item.places) for item in check.tensors) == 3
    assert check.passed
    again = gradient_check(recipe, most=3, seed=2)
    assert [item.places for item in again.tensors] == [item.places for item in check.tensors]


def test_a_module_of_ones_own_is_checked_and_left_alone():
    network = module()
    before = {name: p.clone() for name, p in network.named_parameters()}
    check = gradient_check(network, nn.functional.mse_loss, *data())
    assert check.passed
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name])
        assert p.dtype == torch.float32
        assert p.grad is None


def test_the_measured_gradient_is_scipys_kind():
    """Against a closed form: L = mean((xw - y)²), dL/dw = 2xᵀ(xw - y)/n."""
    network = nn.Linear(3, 1, bias=False)
    x, y = data()
    check = gradient_check(network, nn.functional.mse_loss, x, y)
    w = network.weight.detach().double()
    exact = (2 / 8 * (x.double() @ w.T - y.double()).T @ x.double()).ravel()
    np.testing.assert_allclose(check.tensors[0].measured, exact, rtol=1e-8)
    np.testing.assert_allclose(check.tensors[0].given, exact, rtol=1e-12)


def test_a_weight_that_is_not_used_has_no_gradient_and_no_error():
    network = module()
    network.spare = nn.Parameter(torch.ones(2))
    unused = type("Unused", (nn.Module,), {"forward": lambda self, x: self.inner(x)})()
    unused.inner, unused.spare = module(), nn.Parameter(torch.ones(2))
    check = gradient_check(unused, nn.functional.mse_loss, *data())
    assert check.errors["spare"] == 0
    assert check.passed


# --- what is wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("mistake", [name for name in MISTAKES if name != "none"])
def test_every_mistake_is_caught_where_it_is(mistake):
    wrong = {
        "factor": "wbvc",
        "sign": "wbvc",
        "activation_slope": "wb",
        "index": "w",
        "bias": "b",
    }[mistake]
    check = gradient_check(TINY, **X, mistake=mistake)
    assert not check.passed
    assert [name for name, error in check.errors.items() if error > 0.01] == list(wrong)
    assert check.message.startswith(f"Wrong in {', '.join(wrong)}: at ")


def test_a_forgotten_half_is_an_error_of_a_half():
    errors = gradient_check(TINY, **X, mistake="factor").errors
    assert list(errors.values()) == pytest.approx([0.5] * 4, rel=1e-6)


def test_a_wrong_layer_is_found_by_what_lies_before_it():
    check = gradient_check(module(WrongLayer()), nn.functional.mse_loss, *data())
    assert {name: error > 0.1 for name, error in check.errors.items()} == {
        "0.weight": True,
        "0.bias": True,
        "3.weight": False,
        "3.bias": False,
    }
    assert "0.weight" in check.message
    assert [row["right"] for row in check.table().rows] == [False, False, True, True]
    assert "Wrong in" in check._repr_html_()


def test_a_kink_is_given_the_benefit_of_the_doubt():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        network[0].weight.fill_(1e-7)
    check = gradient_check(
        network, nn.functional.mse_loss, torch.ones(1, 1), torch.ones(1, 1), eps=1e-3
    )
    assert not check.passed
    assert "kink" in check.message


# --- the curve -------------------------------------------------------------------------


def test_errors_fall_as_the_square_of_eps_and_rise_again():
    eps, curves = errors_by_eps(TINY, **X)
    double, single = curves["float64"], curves["float32"]
    assert 1e-6 < eps[double.argmin()] < 1e-4
    assert double.min() < 1e-8
    # truncation: a tenth of eps gives a hundredth of the error
    two, one = np.interp([-2, -1], np.log10(eps), np.log10(double))
    assert one - two == pytest.approx(2, abs=0.1)
    assert double[0] > 1e-4
    assert single.min() > 1e3 * double.min(), "float32 sees much less"
    assert eps[single.argmin()] > eps[double.argmin()]


def test_no_eps_cures_a_mistake():
    _, curves = errors_by_eps(TINY, **X, mistake="factor")
    assert curves["float64"].min() == pytest.approx(0.5, rel=0.01)


def test_a_modules_curve_has_the_same_shape():
    eps, curves = errors_by_eps(SMALL, eps=np.logspace(-11, -1, 6), most=3)
    assert curves["float64"].argmin() not in (0, len(eps) - 1)


# --- a gradient of one's own -----------------------------------------------------------


def by_hand(n):
    dy = 2 * (n["y"] - n["t"])
    found = {"v1": dy * n["a1"], "v2": dy * n["a2"], "c": dy}
    for j in "12":
        dz = dy * n[f"v{j}"] * (1 - n[f"a{j}"] ** 2)
        found |= {f"w{j}1": dz * n["x1"], f"w{j}2": dz * n["x2"], f"b{j}": dz}
    return found


def test_a_gradient_of_ones_own_is_checked():
    assert gradient_check(TINY, **X, gradient=by_hand).passed
    wrong = gradient_check(TINY, **X, gradient=lambda n: {**by_hand(n), "v2": 0.0})
    assert [item.tensor for item in wrong.tensors if item.error > 0.1] == ["v"]


def test_of_a_module_too():
    inputs, targets = data()

    def own(network):
        loss = nn.functional.mse_loss(network(inputs.double()), targets.double())
        names, parameters = zip(*network.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))

    assert gradient_check(module(), nn.functional.mse_loss, inputs, targets, gradient=own).passed


def without(name):
    return lambda n: {k: v for k, v in by_hand(n).items() if k != name}


@pytest.mark.parametrize(
    ("gradient", "parts"),
    [
        (lambda n: None, ["returned None", "return {'w11'"]),
        (lambda n: 3.0, ["returned float", "w11, w12"]),
        (without("b2"), ["no gradient for b2"]),
        (lambda n: {**by_hand(n), "w13": 0.0}, ["'w13'", "did you mean"]),
        (lambda n: {**by_hand(n), "c": [1.0, 2.0]}, ["shape (2,)", "shape of its weight, ()"]),
        (lambda n: {**by_hand(n), "c": float("nan")}, ["NaN"]),
        (lambda n: {**by_hand(n), "c": "up"}, ["'c'", "numbers"]),
        (lambda n: n["dL/dy"], ["KeyError"]),
    ],
    ids=range(8),
)
def test_nonsense_is_explained(gradient, parts):
    with pytest.raises(LabError) as refused:
        gradient_check(TINY, **X, gradient=gradient)
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: gradient_check(TINY), ["inputs=None", "inputs=(1.0, -0.5)"]),
        (lambda: gradient_check(TINY, **X, mistake="sing"), ["did you mean 'sign'"]),
        (lambda: gradient_check(SMALL, mistake="sign"), ["only a TinyNetwork"]),
        (lambda: gradient_check(TINY, **X, eps=0), ["eps=0", "1e-5"]),
        (lambda: gradient_check(TINY, **X, eps="small"), ["eps='small'"]),
        (lambda: gradient_check("net"), ["str cannot be checked"]),
        (lambda: gradient_check(module()), ["loss, inputs, targets is missing"]),
        (lambda: gradient_check(nn.Tanh(), nn.functional.mse_loss, *data()), ["no weights"]),
        (
            lambda: gradient_check(
                module(), lambda o, t: (o - t) ** 2, *data()
            ),
            ["(8, 1) numbers", "mean"],
        ),
        (
            lambda: gradient_check(module(), lambda o, t: (o * torch.nan).sum(), *data()),
            ["the loss is nan"],
        ),
    ],
    ids=range(10),
)  # fmt: skip
def test_mistakes_are_explained(call, parts):
    with pytest.raises(LabError) as refused:
        call()
    for part in parts:
        assert part in str(refused.value)


def test_it_is_public():
    assert labkit.gradient_check is gradient_check
