from __future__ import annotations

import math
import re

import numpy as np
import pytest

import labkit
from labkit.core.errors import LabError
from labkit.toys.gradients.backprop import (
    MISTAKES,
    STAGES,
    TINY_ACTIVATIONS,
    WEIGHTS,
    Number,
    TinyNetwork,
    autograd,
    descend,
    short,
)

CASES = [(seed, activation) for seed in range(4) for activation in TINY_ACTIVATIONS]
X = (0.9, -0.6)


@pytest.mark.parametrize(("seed", "activation"), CASES)
def test_every_number_is_autograds(seed, activation):
    trace = TinyNetwork.draw(seed, activation).run(*X, 0.7)
    reference = autograd(trace.network, *X, 0.7)
    computed = {name for name, number in trace.numbers.items() if number.stage}
    assert computed == set(reference), "a number without a second opinion"
    for name, value in reference.items():
        assert trace[name] == pytest.approx(value, rel=1e-13, abs=1e-15), name
    assert trace.largest_difference() < 1e-14
    assert set(trace.gradient) == set(WEIGHTS)


@pytest.mark.parametrize("activation", TINY_ACTIVATIONS)
def test_the_forward_pass_in_matrices(activation):
    n = TinyNetwork.draw(5, activation)
    f = {
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "relu": lambda z: np.clip(z, 0, None),
    }[activation]
    w = np.array([[n.w11, n.w12], [n.w21, n.w22]])
    y = np.array([n.v1, n.v2]) @ f(w @ X + [n.b1, n.b2]) + n.c
    assert n.predict(*X) == pytest.approx(y)
    trace = n.run(*X, -0.4)
    assert trace["y"] == pytest.approx(y)
    assert trace.loss == pytest.approx((y + 0.4) ** 2)


def python(filled: str) -> float:
    """What a formula with its values filled in comes to, as Python reads it."""
    text = filled.replace("·", "*").replace("²", "**2").replace("e^-", "1/2.718281828459045**")
    text = re.sub(r"\btanh\b", "math.tanh", text)
    return float(eval(text, {"math": math, "max": max}))


@pytest.mark.parametrize(("seed", "activation"), CASES)
def test_formulas_with_values_filled_in_give_the_value(seed, activation):
    trace = TinyNetwork.draw(seed, activation).run(*X, 0.7)
    new = trace.step(0.1)[1]
    for number in (*trace.numbers.values(), *new):
        if number.stage:
            assert python(number.filled) == pytest.approx(number.value, abs=6e-3), number
            assert "((" not in number.filled.replace("(1 + ", "")


def test_a_number_tells_its_story_in_one_line():
    numbers = TinyNetwork().run(1.0, 1.0, 0.0).numbers
    assert numbers["z1"].text == "z1 = w11·x1 + w12·x2 + b1 = 0.5·1 + (-0.3)·1 + 0.1 = 0.3"
    assert numbers["a1"].text == "a1 = tanh(z1) = tanh(0.3) = 0.2913"
    assert numbers["dL/db1"].text == f"dL/db1 = dL/dz1 = {short(numbers['dL/dz1'].value, 4)}"
    assert numbers["w12"].text == "w12 = -0.3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (0.5, "0.5"), (-1.23456, "-1.235"), (2.0, "2"),
        (100.0, "100"), (12345.6, "1.23e+04"), (1e-7, "1e-7"), (-3e-12, "-3e-12"),
        (0.0004, "4e-4"), (0.0006, "0.001"), (1000.0, "1e+03"),
    ],
)  # fmt: skip
def test_short_numbers(value, text):
    assert short(value) == text


def test_stages_follow_each_other():
    trace = TinyNetwork().run(*X, 1.0)
    order = [number.stage for number in trace.numbers.values() if number.stage]
    assert order == sorted(order, key=list(STAGES).index)
    assert [number.name for number in trace.at("output")] == ["y"]
    assert {n.name for n in trace.at("back_inputs")} == {
        "dL/dw11", "dL/dw12", "dL/db1", "dL/dw21", "dL/dw22", "dL/db2",
    }  # fmt: skip


def test_the_table_has_every_number_beside_autograds():
    table = TinyNetwork().run(*X, 1.0).table()
    assert len(table) == 7 + 4 + 6 + 6
    assert table.columns[:4] == ["number", "how", "with numbers", "by hand"]
    assert all(abs(row["difference"]) < 1e-14 for row in table.rows)


# --- the step --------------------------------------------------------------------------


def test_a_step_moves_every_weight_against_its_gradient():
    network = TinyNetwork.draw(1)
    trace = network.run(*X, 1.0)
    moved, numbers = trace.step(0.05)
    for name in WEIGHTS:
        assert moved.weights[name] == pytest.approx(
            network.weights[name] - 0.05 * trace[f"dL/d{name}"]
        )
    assert [n.name for n in numbers] == [f"new {name}" for name in WEIGHTS]
    assert moved.run(*X, 1.0).loss < trace.loss
    assert network == TinyNetwork.draw(1), "a network does not change"


def test_updates_are_torchs_sgd():
    import torch
    from torch import nn

    network = TinyNetwork.draw(2)
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    n = network
    values = ([[n.w11, n.w12], [n.w21, n.w22]], [n.b1, n.b2], [[n.v1, n.v2]], [n.c])
    with torch.no_grad():
        for p, value in zip(module.parameters(), values, strict=True):
            p.copy_(torch.tensor(value, dtype=torch.float64))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    theirs = []
    for _ in range(6):
        loss = (module(torch.tensor([X], dtype=torch.float64)) - 0.8).square().sum()
        theirs.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    end, losses = descend(network, *X, 0.8, 0.1, 5)
    np.testing.assert_allclose(losses, theirs, rtol=1e-10)
    assert end.predict(*X) == pytest.approx(0.8, abs=0.2)
    assert losses[-1] < losses[0]


def test_a_wild_learning_rate_is_explained():
    with pytest.raises(
        LabError, match=r"loss grew to .* in update \d+: lr=9 is too large, try 0.9"
    ):
        descend(TinyNetwork.draw(0, "relu"), *X, 1.0, 9.0, 200)
    trace = TinyNetwork(v1=1e200).run(1.0, 1.0, 1.0)
    assert trace.loss == math.inf
    with pytest.raises(LabError, match="became infinite"):
        trace.step(1e200)


# --- mistakes --------------------------------------------------------------------------


def test_each_mistake_changes_what_it_says():
    network = TinyNetwork.draw(0)
    right = network.run(*X, 1.0).gradient
    changed = {
        mistake: {
            name: network.run(*X, 1.0, mistake).gradient[name] / right[name]
            for name in WEIGHTS
            if network.run(*X, 1.0, mistake).gradient[name] != pytest.approx(right[name])
        }
        for mistake in MISTAKES
    }
    assert changed["none"] == {}
    assert changed["factor"] == pytest.approx(dict.fromkeys(WEIGHTS, 0.5))
    assert changed["sign"] == pytest.approx(dict.fromkeys(WEIGHTS, -1.0))
    assert set(changed["activation_slope"]) == set(WEIGHTS) - {"v1", "v2", "c"}
    assert changed["index"] == pytest.approx({"w12": X[0] / X[1]})
    assert changed["bias"] == {"b1": 0.0, "b2": 0.0}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_leave_the_prediction_alone(mistake):
    network = TinyNetwork.draw(0)
    assert network.run(*X, 1.0, mistake).loss == network.run(*X, 1.0).loss


# --- making one ------------------------------------------------------------------------


def test_drawn_weights_are_readable_and_repeat():
    for seed in range(30):
        weights = TinyNetwork.draw(seed).weights.values()
        assert all(0.2 <= abs(w) < 1 and round(w, 1) == w for w in weights)
    assert TinyNetwork.draw(3) == TinyNetwork.draw(3) != TinyNetwork.draw(4)


def test_saturated_and_huge_inputs_stay_numbers():
    for activation in TINY_ACTIVATIONS:
        trace = TinyNetwork.draw(0, activation).run(1e6, -1e6, 0.0)
        assert all(math.isfinite(number.value) for number in trace.numbers.values())
        assert all(isinstance(number, Number) for number in trace.numbers.values())


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: TinyNetwork(activation="tan"), ["activation='tan'", "did you mean 'tanh'"]),
        (lambda: TinyNetwork(w11=math.nan), ["w11=nan is not finite"]),
        (lambda: TinyNetwork(b2="0.1"), ["b2='0.1'", "a number such as 0.5"]),
        (lambda: TinyNetwork(c=True), ["c=True"]),
        (lambda: TinyNetwork().replace(w13=1.0), ["weight='w13'", "w11"]),
        (lambda: TinyNetwork().run(1, 1, 1, "sgin"), ["mistake='sgin'", "did you mean 'sign'"]),
        (lambda: TinyNetwork().run(1, 1, 1)["z3"], ["number='z3'"]),
        (lambda: TinyNetwork().run(1, 1, 1).at("backwards"), ["stage='backwards'"]),
    ],
    ids=range(8),
)
def test_mistakes_are_explained(call, parts):
    with pytest.raises(LabError) as refused:
        call()
    for part in parts:
        assert part in str(refused.value)


def test_it_is_public():
    assert labkit.TinyNetwork is TinyNetwork
