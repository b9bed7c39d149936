from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.core.errors import LabError
from labkit.training.custom_optimizer import Handmade, call, check_signature

W = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
G = torch.tensor([[0.5, 0.25, -1.0]], dtype=torch.float64)


def asked(function, number=4):
    return call(function, W, G, {}, 0.1, number)


def test_a_good_step_is_taken_as_it_is():
    np.testing.assert_allclose(asked(lambda w, g, s, lr: w - lr * g), W - 0.1 * G)
    single = asked(lambda w, g, s, lr: (w - lr * g).float())
    assert single.dtype == W.dtype


def raises(w, g, state, lr):
    return w - lr * state["velocity"]


def divides(w, g, state, lr):
    return w - lr * g / 0


def in_place(w, g, state, lr):
    w -= lr * g
    return w


def gradient_in_place(w, g, state, lr):
    g.mul_(2)
    return w - lr * g


NONSENSE = {
    "none": (lambda w, g, s, lr: None, "returned nothing \\(None\\)"),
    "list": (lambda w, g, s, lr: [1, 2, 3], "returned a list, not a tensor"),
    "number": (lambda w, g, s, lr: 0.5, "returned the number 0.5, not a tensor"),
    "array": (lambda w, g, s, lr: w.numpy() * 2, "returned a numpy array, not a tensor"),
    "tuple": (lambda w, g, s, lr: (w - g, s), "returned a tuple. .*goes into `state`"),
    "shape": (lambda w, g, s, lr: w[:, :2], r"shape \(1, 2\), but the weights have shape \(1, 3\)"),
    "whole": (lambda w, g, s, lr: w.round().int(), "returned torch.int32 numbers"),
    "nan": (lambda w, g, s, lr: w * float("nan"), "weights are NaN .*division by zero"),
    "infinite": (divides, "weights are infinite"),
    "key": (raises, r"line `return w - lr \* state\[\"velocity\"\]`.*KeyError.*`state` is empty"),
    "zero": (lambda w, g, s, lr: w - lr / 0, "ZeroDivisionError"),
    "weights": (in_place, "changed the weights that it was given"),
    "gradient": (gradient_in_place, "changed the gradient in place"),
}


@pytest.mark.parametrize(("function", "part"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_explained_and_names_the_step(function, part):
    before = W.clone(), G.clone()
    with pytest.raises(LabError, match=part) as error:
        asked(function)
    assert str(error.value).startswith("Step 4: ")
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert torch.equal(W, before[0]), "its tensors were reached"
    assert torch.equal(G, before[1])


def test_interrupting_is_no_mistake():
    def interrupted(w, g, s, lr):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(interrupted)


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda w, g: w, r"must take \(weights, gradient, state, lr\)"),
        (3, "not the number 3"),
        (None, "not a NoneType"),
    ],
)
def test_what_cannot_be_called(function, part):
    with pytest.raises(LabError, match=part):
        check_signature(function)


def test_more_arguments_with_defaults_are_welcome():
    check_signature(lambda w, g, s, lr, momentum=0.9: w)


def test_it_makes_an_optimizer_that_keeps_a_state_for_each_tensor():
    def counting(w, g, state, lr):
        state["t"] = state.get("t", 0) + 1
        return w - lr * g * state["t"]

    weights = [torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimizer = Handmade(weights, 0.5, counting)
    for step in range(2):
        for p in weights[: 2 - step]:
            p.grad = torch.ones_like(p)
        weights[1].grad = None if step else weights[1].grad
        optimizer.step()
    assert weights[0].tolist() == [1 - 0.5 - 1.0] * 2
    assert weights[1].tolist() == [1 - 0.5] * 3, "without a gradient it rests"
