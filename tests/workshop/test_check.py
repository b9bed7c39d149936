from __future__ import annotations

import pytest
import torch

from labkit.core.errors import LabError
from labkit.workshop.check import check_step

# --- right ones, written from the papers and torch's documentation ---------------------


def sgd(w, g, state, lr, decay=0.0):
    return w - lr * (g + decay * w)


def momentum(w, g, state, lr, mu=0.9, decay=0.0):
    state["v"] = mu * state.get("v", torch.zeros_like(w)) + g + decay * w
    return w - lr * state["v"]


def velocity_with_lr(w, g, state, lr):
    """The other way to write it, with the learning rate inside: the same weights."""
    state["v"] = 0.9 * state.get("v", torch.zeros_like(w)) - lr * g
    return w + state["v"]


def nesterov(w, g, state, lr):
    state["v"] = 0.9 * state.get("v", torch.zeros_like(w)) + g
    return w - lr * (g + 0.9 * state["v"])


def adam(w, g, state, lr, decay=0.0, decoupled=False):
    t = state["t"] = state.get("t", 0) + 1
    w, g = (w - lr * decay * w, g) if decoupled else (w, g + decay * w)
    m = state["m"] = 0.9 * state.get("m", 0 * w) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0 * w) + 0.001 * g**2
    return w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


def rmsprop(w, g, state, lr):
    v = state["v"] = 0.99 * state.get("v", 0 * w) + 0.01 * g**2
    return w - lr * g / (v.sqrt() + 1e-8)


def adagrad(w, g, state, lr):
    v = state["v"] = state.get("v", 0 * w) + g**2
    return w - lr * g / (v.sqrt() + 1e-10)


RIGHT = {
    "sgd": (sgd, "sgd", {}),
    "sgd with decay": (lambda *a: sgd(*a, decay=0.1), "sgd", {"weight_decay": 0.1}),
    "momentum": (momentum, "momentum", {}),
    "lr in the velocity": (velocity_with_lr, "momentum", {}),
    "another momentum": (lambda *a: momentum(*a, mu=0.5), "momentum", {"momentum": 0.5}),
    "nesterov": (nesterov, "nesterov", {}),
    "adam": (adam, "adam", {}),
    "adam with decay": (lambda *a: adam(*a, decay=0.1), "adam", {"weight_decay": 0.1}),
    "adamw": (lambda *a: adam(*a, decay=0.1, decoupled=True), "adamw", {"weight_decay": 0.1}),
    "rmsprop": (rmsprop, "rmsprop", {}),
    "adagrad": (adagrad, "adagrad", {}),
}


@pytest.mark.parametrize(("step", "like", "given"), RIGHT.values(), ids=RIGHT)
def test_a_right_one_passes(step, like, given):
    for seed in (0, 1):
        found = check_step(step, like, seed=seed, **given)
        assert found.passed, found
        assert (found.first, found.problem, found.hint) == (None, "", "")
        assert found.message == (
            f"Right: after each of 40 steps all 22 weights are those of torch's {like}."
        )
        assert all(row["same weights"] for row in found.table().rows)


def test_single_precision_is_no_mistake():
    assert check_step(lambda w, g, s, lr: w.float() - lr * g.float(), "sgd").passed


# --- wrong ones, written here; the hints' own variants are tested below ----------------


def bare_adam(w, g, state, lr):
    m = state["m"] = 0.9 * state.get("m", 0 * w) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0 * w) + 0.001 * g**2
    return w - lr * m / (v.sqrt() + 1e-8)


def inside(w, g, state, lr):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = 0.9 * state.get("m", 0 * w) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0 * w) + 0.001 * g**2
    return w - lr * (m / (1 - 0.9**t)) / torch.sqrt(v / (1 - 0.999**t) + 1e-8)


def dampened(w, g, state, lr):
    state["v"] = 0.9 * state.get("v", 0 * w) + 0.1 * g
    return w - lr * state["v"]


WRONG = {
    "sign": (lambda w, g, s, lr: w + lr * g, "sgd", {}, 1, "uphill"),
    "sign of momentum": (
        lambda w, g, s, lr: 2 * w - momentum(w, g, s, lr),
        "momentum",
        {},
        1,
        "uphill",
    ),
    "no memory": (sgd, "momentum", {}, 2, "plain SGD: nothing is remembered"),
    "dampened": (dampened, "momentum", {}, 1, "dampening"),
    "ahead": (nesterov, "momentum", {}, 1, "Nesterov"),
    "not ahead": (momentum, "nesterov", {}, 1, "ordinary momentum"),
    "no correction": (bare_adam, "adam", {}, 1, "bias correction is missing"),
    "ε inside": (inside, "adam", {}, 1, "inside the root"),
    "coupled": (
        lambda *a: adam(*a, decay=0.1),
        "adamw",
        {"weight_decay": 0.1},
        1,
        "AdamW decouples it",
    ),
    "decoupled": (
        lambda *a: adam(*a, decay=0.1, decoupled=True),
        "adam",
        {"weight_decay": 0.1},
        1,
        "decoupled, as in AdamW",
    ),
    "no decay": (sgd, "sgd", {"weight_decay": 0.1}, 1, "weight decay is missing"),
    "still": (lambda w, g, s, lr: w, "adam", {}, 1, "never move"),
}


@pytest.mark.parametrize(("step", "like", "given", "first", "part"), WRONG.values(), ids=WRONG)
def test_a_wrong_one_is_recognized(step, like, given, first, part):
    found = check_step(step, like, **given)
    assert not found.passed
    assert found.first == first
    assert part in found.hint
    assert f"at step {first}" in found.message
    assert found.hint in found.message


def test_an_uncommon_mistake_has_no_hint():
    found = check_step(lambda w, g, s, lr: w - lr * g * 1.01, "sgd")
    assert found.first == 1
    assert found.hint == ""
    assert found.message.startswith("Not yet: your weights leave those of torch's sgd at step 1")


def test_a_late_difference_is_found_where_it_begins():
    def tired(w, g, state, lr):
        t = state["t"] = state.get("t", 0) + 1
        return w - lr * g if t < 7 else w

    found = check_step(tired, "sgd")
    assert found.first == 7
    assert {item.first for item in found.tensors if item.tensor != "tiny gradients"} == {7}


# --- nonsense --------------------------------------------------------------------------


def late_none(w, g, state, lr):
    state["t"] = state.get("t", 0) + 1
    return None if state["t"] == 5 else w - lr * g


def only_matrices(w, g, state, lr):
    return w - lr * g if w.ndim == 2 else [w]


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (late_none, "Step 5: your function returned nothing (None)."),
        (only_matrices, "(It is the vector of shape (5,).)"),
        (lambda w, g, s, lr: w.sub_(lr * g), "changed the weights that it was given"),
        (lambda w, g, s, lr: w * s["v"], "Python says KeyError"),
        (lambda w: w, "Your function must take (weights, gradient, state, lr)"),
        ("momentum", "A step is a function"),
    ],
)
def test_nonsense_is_part_of_the_answer(step, part):
    found = check_step(step, "momentum")
    assert not found.passed
    assert part in found.message
    assert "Traceback" not in found._repr_html_()
    assert repr(found) == found.message
    with pytest.raises(LabError, match="no weights to show"):
        found.figure()


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: check_step(sgd, "sdg"), "did you mean 'sgd'"),
        (lambda: check_step(sgd, "momentum", momentun=0.9), "did you mean 'momentum'"),
        (lambda: check_step(sgd, "lbfgs"), "cannot be checked step by step"),
        (lambda: check_step(sgd, "rprop", weight_decay=0.1), "has no weight decay"),
    ],
)
def test_asking_for_nonsense_is_refused(call, part):
    with pytest.raises(LabError, match=part):
        call()


# --- how it looks ----------------------------------------------------------------------


def test_it_shows_words_a_table_and_a_picture(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: displayed.append(thing))
    found = check_step(sgd, "momentum")
    found._ipython_display_()
    page, picture = displayed
    assert "Keep it in <code>state</code>" in page["text/html"]
    assert "step 2" in page["text/html"]
    theirs, yours, marked = picture.data
    assert theirs.name == "torch's momentum"
    assert marked.x[0] == found.first
    assert (theirs.y[1], abs(theirs.y[2] - yours.y[2]) > 1e-3) == (pytest.approx(yours.y[1]), True)


def test_without_weights_it_shows_words_only(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: displayed.append(thing))
    check_step(lambda w, g, s, lr: None, "sgd")._ipython_display_()
    (page,) = displayed
    assert "<table" not in page["text/html"]


def test_the_global_generator_is_left_alone(global_rng_untouched):
    check_step(sgd, "momentum")


def test_markup_in_a_message_is_text():
    def rude(w, g, state, lr):
        raise ValueError("<script>alert(1)</script>")

    assert "<script>" not in check_step(rude, "sgd")._repr_html_()
