from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.analysis.propagation import signals
from labkit.diagnosis.init_survey import survey
from labkit.recipe.recipe import Recipe
from labkit.training.sweeps import grid, sweep

SMALL = Recipe(task="moons", hidden=(6, 5), samples=60, steps=12, lr=0.01)


def test_a_row_holds_what_was_sent_through_and_what_was_learnt():
    swept = sweep(grid(SMALL, init=["kaiming_normal", "zeros"], activation=["relu", "tanh"]))
    rows = survey(swept)
    assert [(row["init"], row["activation"]) for row in rows] == [
        ("kaiming_normal", "relu"),
        ("kaiming_normal", "tanh"),
        ("zeros", "relu"),
        ("zeros", "tanh"),
    ]
    assert {row["depth"] for row in rows} == {2}
    flow = signals(swept.recipes[0])
    assert rows[0]["activation_std"] == pytest.approx(float(np.std(flow[1].after)), rel=1e-5)
    assert rows[0]["gradient_std"] == pytest.approx(float(np.std(flow[0].gradient)), rel=1e-5)
    assert rows[2]["activation_std"] == rows[2]["gradient_std"] == 0
    accuracies = [history.curve("val_accuracy")[1][-1] for history in swept.histories]
    assert [row["accuracy"] for row in rows] == pytest.approx(accuracies)


def test_the_inits_own_arguments_are_part_of_its_name():
    half = SMALL.replace(init_args={"factor": 0.5}, steps=2)
    assert survey(sweep([half]))[0]["init"] == "kaiming_normal(factor=0.5)"


def test_what_diverged_has_no_accuracy_and_says_so():
    wild = SMALL.replace(task="regression", optimizer="sgd", lr=10.0, activation="relu", steps=200)
    (row,) = survey(sweep([wild]))
    assert math.isnan(row["loss"])
    assert "diverged" in row["findings"]


def test_regression_is_judged_by_its_loss():
    (row,) = survey(sweep([SMALL.replace(task="regression", steps=5)]))
    assert "accuracy" not in row
    assert row["loss"] > 0


def test_a_network_without_hidden_layers():
    (row,) = survey(sweep([SMALL.replace(hidden=(), steps=2)]))
    assert row["depth"] == 0
    assert row["activation_std"] > 0
