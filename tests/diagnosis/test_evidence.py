from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from labkit.diagnosis.evidence import SATURATED, Evidence, tail
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import Trainer, fit, initial_network
from tests.diagnosis.runs import FALLING, LAYOUT, record

QUICK = Recipe(task="moons", samples=60, hidden=(5, 4), steps=12, device="cpu")


def test_a_record_without_a_recipe_has_its_own_numbers_only():
    run = Evidence(record(FALLING, lr=0.3, growth=2e-3))
    assert run.recipe is None
    assert (run.hidden, run.matrices) == (["layer1.weight"], ["layer1.weight", "output.weight"])
    assert (run.steps, run.lr) == (len(FALLING) - 1, 0.3)
    np.testing.assert_allclose(run.losses, FALLING)
    assert run.guess == FALLING[0]
    assert run.update_ratio == pytest.approx(2e-3, rel=0.01)
    assert (run.start, run.end) == (None, None)


def test_a_trend_needs_a_few_losses():
    assert not Evidence(record(FALLING[:4])).judgeable
    assert Evidence(record(FALLING[:5])).judgeable


def test_the_tail_is_a_median():
    assert tail(np.array([9.0, 1.0, 50.0, 2.0])) == 2.0


@pytest.mark.parametrize("task", ["moons", "digits", "regression"])
def test_a_guess_is_the_best_constant_answer(task):
    recipe = Recipe(task=task, samples=80, hidden=(3,), steps=1, device="cpu")
    run, data = Evidence(fit(recipe)), recipe.data()
    targets = data.train_targets
    if data.classes:
        shares = torch.bincount(targets, minlength=data.classes) / len(targets)
        logits = shares.clamp_min(1e-30).log().expand(len(targets), -1)
        expected = functional.cross_entropy(logits, targets).item()
    else:
        expected = functional.mse_loss(targets.mean().expand_as(targets), targets).item()
    assert run.guess == pytest.approx(expected, rel=1e-5)


def test_each_steps_loss_counts_where_a_batch_holds_all_samples():
    recipe = QUICK.replace(batch_size=42)
    history = fit(recipe)
    assert len(Evidence(history).losses) == recipe.steps
    np.testing.assert_array_equal(Evidence(history).losses, history.curve("loss")[1])
    evaluated = fit(QUICK)
    np.testing.assert_array_equal(Evidence(evaluated).losses, evaluated.curve("train_loss")[1])


def test_the_learning_rate_is_the_one_in_force_at_the_end():
    trainer = Trainer(QUICK)
    trainer.adjust(QUICK.replace(lr=0.5))
    while not trainer.finished:
        trainer.advance()
    assert Evidence(trainer.history).lr == 0.5
    scheduled = QUICK.replace(schedule="cosine", lr=0.02)
    assert Evidence(fit(scheduled)).lr == 0.02, "before its schedule"


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_what_flows_is_what_torch_computes(activation):
    recipe = QUICK.replace(activation=activation, init="normal", init_args={"std": 2.0})
    flow = Evidence(fit(recipe)).start
    network, inputs = initial_network(recipe), recipe.data().train_inputs
    with torch.no_grad():
        first = network[:2](inputs)
        second = network[:4](inputs)
        output = network(inputs)
    scale = inputs.std(correction=0)
    assert (flow.step, flow.layers) == (0, ["layer1", "layer2"])
    assert flow.activations == pytest.approx(
        [float(a.std(correction=0) / scale) for a in (first, second)], rel=1e-4
    )
    assert flow.output == pytest.approx(float(output.std(correction=0) / scale), rel=1e-4)
    assert len(flow.gradients) == 3
    if activation == "relu":
        dead = [(a == 0).all(0).float().mean().item() for a in (first, second)]
        assert (flow.dead, flow.saturated) == (pytest.approx(dead), [])
    else:
        # A slope below 4 % of the largest: of tanh 1 - a², of a sigmoid 4 a (1 - a).
        slopes = [1 - a**2 if activation == "tanh" else 4 * a * (1 - a) for a in (first, second)]
        flat = [(s < 1 - SATURATED**2).float().mean().item() for s in slopes]
        assert (flow.dead, flow.saturated) == ([], pytest.approx(flat, abs=1e-6))
        assert max(flat) > 0.01


def test_nothing_flows_through_weights_that_are_not_finite():
    recipe = QUICK.replace(activation="relu", optimizer="sgd", lr=10.0, task="regression")
    history = Trainer(recipe).history
    weights = history.flat(0).copy()
    run = Evidence(history)
    assert run.end is not None
    weights[0] = math.inf
    history.flat = lambda step=None: weights
    assert Evidence(history).end is None


def test_a_statistic_leaves_out_the_start_and_what_is_not_finite():
    run = Evidence(record([1.0, 0.9, 0.8], gradient=2.0))
    expected = [2 * math.sqrt(math.prod(LAYOUT.shapes[0]))] * 2
    assert run.statistic("gradient_norm", "layer1.weight") == pytest.approx(expected)
