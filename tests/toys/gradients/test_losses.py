from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

import labkit
from labkit.core.errors import RecipeError
from labkit.toys.gradients.losses import LOSSES, best_constant, deal, evaluate, of_kind

OUTPUT = np.linspace(-6, 6, 49)  # 0 and ±1 are among them


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def closed_forms(name, z, t, delta=1.0, classes=10, gamma=2.0, alpha=0.25):
    """Loss and slope, written out in numpy."""
    e, p = z - t, sigmoid(z)
    small = np.abs(e) <= delta
    others = np.log(np.exp(z) + classes - 1)
    soft = np.exp(z) / (np.exp(z) + classes - 1)
    right, weight = (p, alpha) if t == 1 else (1 - p, 1 - alpha)
    sign = 1 if t == 1 else -1
    # d/dz of -(1 - q)^γ ln q with dq/dz = ±q(1 - q); Lin et al. 2017, appendix B
    focal = weight * sign * (1 - right) ** gamma * (gamma * right * np.log(right) + right - 1)
    return {
        "mse": (e**2, 2 * e),
        "l1": (np.abs(e), np.sign(e)),
        "huber": (
            np.where(small, e**2 / 2, delta * (np.abs(e) - delta / 2)),
            np.clip(e, -delta, delta),
        ),
        "brier": ((p - t) ** 2, 2 * (p - t) * p * (1 - p)),
        "bce": (-t * np.log(p) - (1 - t) * np.log(1 - p), p - t),
        "cross_entropy": (others - t * z, soft - t),
        "focal": (-weight * (1 - right) ** gamma * np.log(right), focal),
    }[name]


ARGUMENTS = [
    *((name, {}) for name in LOSSES),
    ("huber", {"delta": 0.3}),
    ("cross_entropy", {"classes": 2}),
    ("focal", {"gamma": 0.0, "alpha": 0.5}),
    ("focal", {"gamma": 5.0}),
]


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS, ids=str)
def test_losses_and_slopes_are_the_closed_forms(name, arguments, target):
    losses, slopes = evaluate(name, OUTPUT, float(target), arguments)
    expected, slope = closed_forms(name, OUTPUT, target, **arguments)
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(slopes, slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 4.5])
def test_focal_is_torchvisions(gamma):
    z = torch.tensor(OUTPUT)
    t = (torch.arange(len(z)) % 2).double()
    ours, slopes = evaluate("focal", OUTPUT, t.numpy(), {"gamma": gamma, "alpha": 0.25})
    z.requires_grad_()
    theirs = sigmoid_focal_loss(z, t, alpha=0.25, gamma=gamma)
    theirs.sum().backward()
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(slopes, z.grad, rtol=1e-6, atol=1e-12)


def test_two_classes_are_yes_and_no():
    for target in (0.0, 0.3, 1.0):
        two = evaluate("cross_entropy", OUTPUT, target, {"classes": 2})
        np.testing.assert_allclose(two, evaluate("bce", OUTPUT, target), rtol=1e-9)


@pytest.mark.parametrize("name", of_kind("classification"))
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_losses_of_logits_stay_finite_far_out(name, target):
    far = np.array([-1e4, -800.0, -40.0, 0.0, 40.0, 800.0, 1e4])
    for values in evaluate(name, far, target):
        assert np.isfinite(values).all()


def test_shapes_are_kept():
    square = OUTPUT.reshape(7, 7)
    for name in LOSSES:
        for values in evaluate(name, square, 1.0):
            assert values.shape == (7, 7)
            assert values.dtype == np.float64
        for values in evaluate(name, 0.5, 1.0):
            assert values.shape == ()


def test_the_squared_probability_is_flat_where_it_is_surely_wrong():
    """What the notebook says: of yes, at a logit of -6."""
    (_, flat), (_, steep) = (evaluate(name, -6.0, 1.0) for name in ("brier", "bce"))
    assert abs(flat) < 0.01
    assert steep == pytest.approx(-1, abs=0.01)


# --- the best constant -----------------------------------------------------------------

VALUES = np.random.default_rng(4).normal(2, 1, 9)


@pytest.mark.parametrize("values", [VALUES, np.append(VALUES, 30.0), np.array([3.0])], ids=len)
def test_mse_gives_the_mean_and_l1_the_median(values):
    assert best_constant("mse", values) == pytest.approx(values.mean(), abs=1e-9)
    assert best_constant("l1", values) == pytest.approx(np.median(values), abs=1e-9)


@pytest.mark.parametrize("delta", [0.05, 0.4, 1.0, 10.0])
def test_huber_gives_the_best_of_a_fine_grid(delta):
    values = np.append(VALUES, 9.0)
    found = best_constant("huber", values, {"delta": delta})

    def total(constant):
        return sum(closed_forms("huber", constant, value, delta=delta)[0] for value in values)

    grid = np.linspace(values.min(), values.max(), 20_001)
    assert total(found) <= total(grid).min() + 1e-12


def test_huber_lies_between_median_and_mean_and_wide_ones_at_the_mean():
    values = np.array([0.0, 1, 2, 3, 4, 6, 8, 10, 12])
    narrow, wide = (best_constant("huber", values, {"delta": d}) for d in (2.0, 10.0))
    assert np.median(values) < narrow < wide
    assert wide == pytest.approx(values.mean())


# --- mistakes -----------------------------------------------------------------------------


def test_arguments_are_dealt_to_the_losses_that_take_them():
    given = {"gamma": 3.0, "alpha": 0.5, "delta": 2.0}
    assert deal(["bce", "focal"], given) == {"bce": {}, "focal": {"gamma": 3.0, "alpha": 0.5}}
    assert deal(["mse", "huber"], given) == {"mse": {}, "huber": {"delta": 2.0}}


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: evaluate("huberr", 0.0, 0.0), ["loss='huberr'", "did you mean 'huber'"]),
        (lambda: evaluate("huber", 0.0, 0.0, {"delta": 0}), ["huber.delta=0", "0.05 to 10"]),
        (lambda: evaluate("mse", 0.0, 0.0, {"delta": 1}), ["mse.delta is not a field of 'mse'"]),
        (lambda: best_constant("bce", VALUES), ["loss='bce'", "mse, l1, huber"]),
        (lambda: deal(["mse", "bce"], {}), ["different kinds", "mse, l1, huber", "brier, bce"]),
        (lambda: deal(["mse", "mse"], {}), ["different names"]),
        (lambda: deal([], {}), ["one or more"]),
        (lambda: deal(["mse"], {"detla": 1}), ["argument='detla'", "did you mean 'delta'"]),
    ],
    ids=range(8),
)
def test_mistakes_are_explained(call, parts):
    with pytest.raises(RecipeError) as refused:
        call()
    for part in parts:
        assert part in str(refused.value)


def test_they_are_public_and_described():
    assert labkit.LOSSES is LOSSES
    for row in LOSSES.table():
        assert all(row[key] for key in ("what", "formula", "source"))
