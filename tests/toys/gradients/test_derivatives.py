from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import labkit
from labkit.core.errors import RecipeError
from labkit.toys.gradients.derivatives import check_derivative


def mse(prediction, target):
    return 2 * (prediction - target)


def huber(prediction, target):
    return max(-0.7, min(0.7, prediction - target))


def bce(logit, target):
    return 1 / (1 + math.exp(-logit)) - target


def no_return(prediction, target):
    prediction - target


def divides(prediction, target):
    return (prediction - target) / (prediction - prediction)


def not_a_number(prediction, target):
    return math.nan if prediction > target else mse(prediction, target)


def several(prediction, target):
    return [prediction, target]


def text(prediction, target):
    return "up"


def one_argument(prediction):
    return prediction


@pytest.mark.parametrize(
    ("function", "loss", "arguments"),
    [
        (mse, "mse", {}),
        (lambda p, t: math.copysign(1, p - t), "l1", {}),
        (huber, "huber", {"delta": 0.7}),
        (bce, "bce", {}),
        (bce, "bce", {"target": 0.0}),
        (lambda p, t: np.array([2 * (p - t)]), "mse", {}),
        (lambda p, t: torch.tensor(2 * (p - t)), "mse", {"target": -3.0}),
    ],
)
def test_a_right_derivative_is_right(function, loss, arguments):
    check = check_derivative(function, loss, **arguments)
    assert check.passed, check.message
    assert check.message.startswith("Right")
    np.testing.assert_allclose(check.given, check.expected, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "loss", "parts"),
    [
        (lambda p, t: p - t, "mse", ["0.5 times"]),
        (lambda p, t: 2 * (t - p), "mse", ["sign is the wrong way round"]),
        (lambda p, t: 0.0, "mse", ["0 everywhere"]),
        (lambda p, t: p - t, "huber", ["right up to an error of about 0.9", "wrong beyond"]),
        (lambda p, t: p + t, "mse", ["Not yet: at prediction"]),
        (no_return, "mse", ["no_return returned None", "return"]),
        (divides, "mse", ["ZeroDivisionError", "(prediction - prediction)", "at prediction -3.5"]),
        (not_a_number, "mse", ["returned nan", "at prediction 0.55"]),
        (several, "mse", ["2 numbers", "one prediction has one slope"]),
        (text, "mse", ["'up'", "return a number"]),
        (one_argument, "mse", ["def one_argument(prediction, target)"]),
        (None, "mse", ["None is no function"]),
        (3.0, "mse", ["3.0 is no function"]),
    ],
)
def test_a_wrong_one_is_explained_and_never_raised(function, loss, parts):
    check = check_derivative(function, loss)
    assert check.passed is False
    for part in parts:
        assert part in check.message
    assert "Traceback" not in repr(check)
    assert check.message.split()[0] in check._repr_html_()


def test_what_the_notebook_asks_for():
    """The exercise's first attempt is right near the target only."""
    check = check_derivative(lambda p, t: p - t, "huber", delta=0.5)
    assert not check.passed
    assert check.loss == "huber(delta=0.5)"
    near = np.abs(check.output - check.target) < 0.5
    np.testing.assert_allclose(check.given[near], check.expected[near])
    assert (np.abs(check.given[~near]) > np.abs(check.expected[~near])).all()


def test_a_name_or_message_is_no_markup():
    check = check_derivative(lambda p, t: None)
    assert "<lambda>" in check.message
    assert "&lt;lambda&gt;" in check._repr_html_()


def test_mistakes_in_the_call_are_refused():
    with pytest.raises(RecipeError, match="did you mean 'huber'"):
        labkit.check_derivative(mse, "hubert")
    with pytest.raises(RecipeError, match=r"huber\.delta=0"):
        labkit.check_derivative(mse, "huber", delta=0)
