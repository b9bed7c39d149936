"""Findings against histories whose numbers are known, and against healthy runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from labkit import diagnosis
from labkit.diagnosis.causes import diagnose
from labkit.recipe.networks import ACTIVATIONS
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from labkit.recipe.schedules import SCHEDULES
from labkit.recipe.tasks import TASKS
from labkit.training.history import History
from labkit.training.trainer import Trainer, fit
from tests.diagnosis.runs import FALLING, LAYOUT, kinds, record

# --- from the record alone -----------------------------------------------------------------


def test_nothing_recorded_is_nothing_found():
    assert diagnose(History(LAYOUT)) == []
    assert diagnose(Trainer(Recipe(), record=False).history) == []
    assert kinds(record([1.0])) == []


def test_a_steady_fall_is_healthy():
    assert kinds(record(FALLING)) == []


# --- causes before consequences ------------------------------------------------------------


def test_zeros_explain_all_the_rest():
    for activation in ("tanh", "relu", "sigmoid"):
        recipe = Recipe(task="moons", init="zeros", activation=activation, steps=60)
        assert kinds(fit(recipe))[:1] == [
            "symmetric_units" if activation == "sigmoid" else "frozen_weights"
        ], "σ(0) = 1/2, so that the output's weights do move"


def test_a_run_that_ended_in_infinity_because_of_its_init_says_so_first():
    recipe = Recipe(
        task="digits", hidden=(32,) * 6, activation="identity", init="normal",
        init_args={"std": 0.6}, optimizer="sgd", lr=0.001, steps=50,
    )  # fmt: skip
    found = diagnose(fit(recipe))
    assert [finding.kind for finding in found] == ["exploding_activations", "diverged"]
    cured = fit(recipe.replace(**found[0].changes))
    assert "diverged" not in kinds(cured)


@pytest.mark.parametrize("task", ["spiral", "moons", "digits"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_a_far_too_high_learning_rate_is_found_though_the_loss_stays_finite(task, activation):
    recipe = Recipe(task=task, activation=activation, optimizer="sgd", lr=10.0, steps=150)
    history = fit(recipe)
    assert history.finding is None
    first = diagnose(history)[0]
    assert first.changes == {"lr": 0.1}
    assert first.kind.startswith("lr_too_high") or first.kind == "dead_relus"


def test_the_learning_rate_in_force_counts_not_the_one_it_began_with():
    recipe = Recipe(task="regression", lr=0.01, steps=400)
    trainer = Trainer(recipe)
    trainer.adjust(recipe.replace(lr=2.0))
    while not trainer.finished:
        trainer.advance()
    finding = diagnose(trainer.history)[0]
    assert finding.evidence["lr"] == 2.0
    assert finding.changes == {"lr": 0.01}


# --- whatever one may train ----------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        *(Recipe(task=task, samples=60, steps=1) for task in TASKS),
        *(Recipe(task="moons", samples=60, activation=name, steps=25) for name in ACTIVATIONS),
        *(Recipe(task="moons", samples=60, optimizer=name, steps=25) for name in OPTIMIZERS),
        *(Recipe(task="moons", samples=60, schedule=name, steps=25) for name in SCHEDULES),
        Recipe(task="digits", network="cnn", hidden=(3, 4), samples=60, steps=25),
        Recipe(task="moons", hidden=(), steps=25),
        Recipe(task="moons", hidden=(1,), activation="relu", steps=25),
    ],
    ids=lambda recipe: recipe.to_text(),
)
def test_any_run_can_be_diagnosed(recipe, global_rng_untouched):
    history = fit(recipe)
    before = history.flat().copy()
    for finding in diagnose(history):
        recipe.replace(**finding.changes)
        assert finding.remedy.endswith(".")
    np.testing.assert_array_equal(history.flat(), before)


def test_what_was_saved_says_the_same(tmp_path):
    history = fit(Recipe(task="moons", init="all_equal", steps=30))
    assert diagnose(History.load(history.save(tmp_path / "run"))) == diagnose(history)


def test_a_run_in_the_making_is_not_judged_too_early():
    """The defaults, after each of the first steps."""
    recipe = Recipe()
    trainer = Trainer(recipe)
    for _ in zip(range(30), trainer.run(), strict=False):
        assert diagnose(trainer.history) == []


def test_thresholds_have_reasons():
    """Each with a comment of its own, as whoever changes one needs to know."""
    found = 0
    for path in Path(diagnosis.__file__).parent.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.match(r"[A-Z_]+ = [\d.]", line):
                assert "  # " in line, line
                found += 1
    assert found > 15


# --- healthy runs --------------------------------------------------------------------------

# Where each optimizer trains small networks; LBFGS and Rprop want all samples in each batch,
# fit even their noise within tens of steps, and so overfit by construction.
RATES = {
    "sgd": (0.03, 0.3),
    "asgd": (0.03, 0.3),
    "momentum": (0.01, 0.05),
    "nesterov": (0.01, 0.05),
    "adam": (0.003, 0.03),
    "adamw": (0.003, 0.03),
    "nadam": (0.003, 0.03),
    "radam": (0.003, 0.03),
    "adamax": (0.005, 0.05),
    "adagrad": (0.03, 0.1),
    "adadelta": (0.5, 2.0),
    "rmsprop": (0.002, 0.01),
    "adafactor": (0.01, 0.05),
    "muon": (0.005, 0.03),
}
EVEN = ("xavier_normal", "xavier_uniform", "lecun_normal", "lecun_uniform", "pytorch")
ONE_SIDED = ("kaiming_normal", "kaiming_uniform")
ANY = ("orthogonal", "lsuv")


def healthy(rng: np.random.Generator) -> Recipe:
    """A recipe that does nothing wrong, by what is known of each choice, not by diagnosis.

    The init suits the activation (Xavier's kind for tanh and sigmoid, He's for the rest),
    the learning rate suits the optimizer, sigmoids are at most two deep, and the data are
    the task's own.
    """

    def one(choices):
        return str(rng.choice(list(choices)))

    task = one(TASKS)
    network = one(["mlp", "cnn"]) if task == "digits" else "mlp"
    activation = one(sorted({*ACTIVATIONS} - {"identity"}))
    deepest = 2 if network == "cnn" or activation == "sigmoid" else 3
    widths = (4, 10) if network == "cnn" else (6, 21)
    optimizer = one(RATES)
    low, high = RATES[optimizer]
    return Recipe(
        task=task,
        network=network,
        activation=activation,
        hidden=tuple(int(w) for w in rng.integers(*widths, rng.integers(1, deepest + 1))),
        init=one((EVEN if activation in ("tanh", "sigmoid") else ONE_SIDED) + ANY),
        optimizer=optimizer,
        lr=float(f"{low * (high / low) ** rng.random():.2g}"),
        batch_size=int(rng.choice([16, 32, 64, 128])),
        schedule=one(SCHEDULES),
        steps=int(rng.triangular(300, 300, 480)),
        seed=int(rng.integers(1000)),
        data_seed=int(rng.integers(1000)),
        device="cpu",
    )


def learnt(recipe: Recipe, history: History) -> bool:
    """Whether a fifth of what a constant answer gets wrong is explained: it is worth judging."""
    targets = recipe.data().train_targets.numpy()
    if recipe.data().classes:
        shares = np.bincount(targets) / len(targets)
        guess = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    else:
        guess = targets.var()
    return history.summary()["train_loss"] < 0.8 * guess


def false_findings(seed: int, count: int = 200) -> list[tuple[str, list[str]]]:
    """Findings of each of so many healthy runs that learnt something."""
    rng = np.random.default_rng(seed)
    found: list[tuple[str, list[str]]] = []
    while len(found) < count:
        recipe = healthy(rng)
        trainer = Trainer(recipe, snapshot_bytes=200_000)
        for _ in trainer.run():
            pass
        history = trainer.history
        if history.finding or learnt(recipe, history):
            found.append((recipe.to_text(), kinds(history)))
    return found


def test_healthy_runs_are_left_in_peace():
    found = false_findings(seed=2024)
    wrong = [(text, kinds) for text, kinds in found if kinds]
    rate = len(wrong) / len(found)
    print(f"{rate:.1%} of {len(found)} healthy runs have a finding: {wrong}")
    assert rate <= 0.05, wrong
