"""Every preset fails as it says, and its remedy cures it, by numbers of our own too."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from labkit import views
from labkit.analysis.propagation import signals
from labkit.core.errors import RecipeError
from labkit.diagnosis.causes import diagnose
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.training.layout import layout_of
from labkit.training.sweeps import sweep
from labkit.training.trainer import fit, initial_network
from labkit.workshop.presets import PRESETS

KINDS = {
    "symmetric_units",
    "frozen_weights",
    "vanishing_activations",
    "vanishing_gradients",
    "exploding_activations",
    "exploding_gradients",
    "dead_relus",
    "saturated_units",
    "lr_too_high_oscillating",
    "lr_too_high_diverging",
    "diverged",
    "lr_too_low",
    "overfitting",
}


@cache
def failed(name: str) -> tuple[History, list[Finding]]:
    history = fit(PRESETS[name].recipe)
    return history, diagnose(history)


@cache
def cured(name: str) -> tuple[Recipe, History]:
    (finding,) = [f for f in failed(name)[1] if f.kind == PRESETS[name].kind]
    recipe = PRESETS[name].recipe.replace(**finding.changes)
    return recipe, fit(recipe)


def test_every_kind_has_a_preset():
    assert {preset.kind for preset in PRESETS.values()} == KINDS


@pytest.mark.parametrize("name", PRESETS)
def test_it_shows_what_it_says(name):
    _, findings = failed(name)
    assert findings[0].kind == PRESETS[name].kind, [str(finding) for finding in findings]
    assert findings[0].changes, "no remedy to try"
    for key, value in findings[0].changes.items():
        assert key in findings[0].remedy
        assert (f"{value:g}" if isinstance(value, float) else str(value)) in findings[0].remedy


@pytest.mark.parametrize("name", PRESETS)
def test_its_remedy_cures_it_and_brings_nothing_else(name):
    assert [str(finding) for finding in diagnose(cured(name)[1])] == []


@pytest.mark.parametrize("name", PRESETS)
def test_the_cured_run_is_better_on_samples_it_never_saw(name):
    """By a loss computed here, not by anything the diagnosis looks at."""
    recipe, after = cured(name)
    before = failed(name)[0]
    worse = val_loss(PRESETS[name].recipe, before)
    assert val_loss(recipe, after) < 0.8 * worse or not np.isfinite(worse)


@torch.no_grad()
def val_loss(recipe: Recipe, history: History) -> float:
    data, network = recipe.data(), initial_network(recipe)
    nn.utils.vector_to_parameters(torch.tensor(history.flat()), list(network.parameters()))
    loss = functional.cross_entropy if data.classes else functional.mse_loss
    return loss(network(data.val_inputs), data.val_targets).item()


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("exploding_activations", lambda bad, good: good < 0.01 * bad),
        ("vanishing_activations", lambda bad, good: good > 100 * bad),
    ],
)
def test_the_signal_keeps_its_size_now(name, better):
    def last_std(recipe: Recipe) -> float:
        return float(signals(recipe)[-2].after.std())

    bad, good = last_std(PRESETS[name].recipe), last_std(cured(name)[0])
    assert better(bad, good), (bad, good)
    assert 0.05 < good < 3


@pytest.mark.parametrize(
    ("name", "bad", "good"), [("vanishing_gradients", 30, 10), ("exploding_gradients", 8, 4)]
)
def test_the_gradient_arrives_as_it_left(name, bad, good):
    """The recorded norms of the weights' gradients, first layer against last hidden one."""

    def ratio(history: History) -> float:
        *hidden, _output = [tensor for tensor in history.layout.names if "weight" in tensor]
        norms = [history.statistic("gradient_norm", t)[1][1:21].mean() for t in hidden]
        return max(norms[0] / norms[-1], norms[-1] / norms[0])

    assert ratio(failed(name)[0]) > bad
    assert ratio(cured(name)[1]) < good


@pytest.mark.parametrize("name", PRESETS)
def test_it_can_be_looked_at(name):
    preset = PRESETS[name]
    assert preset.name == name
    assert preset.view in views.views_for(preset.recipe)
    names = failed(name)[0].layout.names
    per_tensor = views.VIEWS[preset.view].traits["per_tensor"]
    assert preset.tensor in names if per_tensor else preset.tensor is None
    assert views.draw(preset.view, failed(name)[0], preset.recipe, preset.tensor)["data"]
    assert preset.title
    assert preset.question.endswith("?")
    assert preset.look.endswith(".")


def test_titles_tell_them_apart():
    assert len({preset.title for preset in PRESETS.values()}) == len(PRESETS)


def test_a_mistake_is_answered():
    with pytest.raises(RecipeError, match=r"preset='dead_relu' .*did you mean 'dead_relus'"):
        PRESETS["dead_relu"]


def test_what_a_sweep_recorded_is_diagnosed_alike():
    """Its histories are thinned, and stacked members diverge by themselves."""
    names = ["frozen", "symmetric_units", "lr_too_low", "nan", "diverging", "overfitting"]
    members = sweep([PRESETS[name].recipe for name in names]).histories
    for name, history in zip(names, members, strict=True):
        kinds = [finding.kind for finding in diagnose(history)]
        assert kinds == [finding.kind for finding in failed(name)[1]], name


def test_numbers_in_the_questions_are_those_of_the_recipes():
    overfitting = PRESETS["overfitting"].recipe
    data = overfitting.data()
    assert (len(data.train_inputs), int(data.mislabelled.sum())) == (84, 21)
    assert layout_of(initial_network(overfitting)).total == 4482
    assert len(PRESETS["vanishing_activations"].recipe.hidden) + 1 == 7
    assert len(PRESETS["vanishing_gradients"].recipe.hidden) == 6
