from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labkit.analysis.generalization import (
    accuracy,
    by_class,
    memorization,
    never_seen,
    row,
    seen_and_not,
)
from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit, initial_network

MOONS = Recipe(task="moons", noise=0.2, samples=150, hidden=(16,), lr=0.03, steps=200, device="cpu")
BLOBS = Recipe(task="blobs", samples=120, hidden=(6,), lr=0.03, steps=80, device="cpu")
NOISY = MOONS.replace(label_noise=0.25)


@pytest.fixture(scope="module")
def runs():
    return {recipe: fit(recipe) for recipe in (MOONS, BLOBS, NOISY)}


@torch.no_grad()
def answers(recipe: Recipe, weights: np.ndarray, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Predicted classes and the probability of each, by torch alone."""
    network = initial_network(recipe)
    nn.utils.vector_to_parameters(torch.tensor(weights), network.parameters())
    sure, best = network(getattr(recipe.data(), f"{split}_inputs")).softmax(1).max(1)
    return best.numpy(), sure.numpy()


def test_accuracies_are_those_of_the_history(runs):
    for recipe, history in runs.items():
        summary = history.summary()
        assert accuracy(recipe, history.flat()) == pytest.approx(
            (summary["train_accuracy"], summary["val_accuracy"])
        )


def test_classes_are_judged_one_by_one(runs):
    flat = runs[BLOBS].flat(4)
    predicted, _ = answers(BLOBS, flat, "val")
    true = BLOBS.data().val_targets.numpy()
    expected = [np.mean(predicted[true == k] == k) for k in range(3)]
    np.testing.assert_allclose(by_class(BLOBS, flat), expected)
    assert len(set(expected)) > 1, "classes that are all alike prove nothing"


@pytest.mark.parametrize("task", ["moons", "circles"])
def test_samples_of_the_missing_region_are_known_by_their_place(task):
    recipe = Recipe(task=task, samples=200, missing="region", label_noise=0.2, train_share=0.3)
    points = recipe.data().val_inputs.numpy()
    assert never_seen(recipe).tolist() == [bool(x > 0 and y > 0) for x, y in points]


def test_samples_of_the_missing_class_are_known_by_their_label():
    recipe = BLOBS.replace(missing="class")
    np.testing.assert_array_equal(never_seen(recipe), recipe.data().val_targets.numpy() == 0)
    assert not never_seen(BLOBS).any()


def test_the_missing_third_of_a_line():
    recipe = Recipe(task="regression", missing="region")
    seen = recipe.data().train_inputs.abs().min().item()
    inside = recipe.data().val_inputs.abs().flatten().numpy() < seen
    assert never_seen(recipe).sum() > 10
    assert (inside == never_seen(recipe)).mean() > 0.97, "but for those at the very edge"


def test_seen_and_not():
    recipe = BLOBS.replace(missing="class")
    flat = fit(recipe).flat()
    predicted, sure = answers(recipe, flat, "val")
    true = recipe.data().val_targets.numpy()
    gone = true == 0
    for found, chosen in zip(seen_and_not(recipe, flat), (~gone, gone), strict=True):
        assert found["count"] == chosen.sum()
        assert found["right"] == pytest.approx(np.mean(predicted[chosen] == true[chosen]))
        assert found["how sure"] == pytest.approx(sure[chosen].mean(), rel=1e-5)
    assert len(seen_and_not(BLOBS, flat)) == 1, "no row for samples that there are not"


def test_memorization_follows_right_and_wrong_labels_apart(runs):
    found = memorization(runs[NOISY], NOISY)
    data = NOISY.data()
    wrong = data.mislabelled.numpy()
    for index in (0, len(found.steps) // 2, -1):
        flat = runs[NOISY].flat(int(found.steps[index]))
        predicted, _ = answers(NOISY, flat, "train")
        fits = predicted == data.train_targets.numpy()
        assert found.right[index] == pytest.approx(fits[~wrong].mean())
        assert found.wrong[index] == pytest.approx(fits[wrong].mean())
        assert found.val[index] == pytest.approx(accuracy(NOISY, flat)[1])
    assert (found.steps[0], found.steps[-1]) == (0, 200)
    assert found.right.max() > 0.85 > found.wrong[found.steps == found.first("right", 0.85)]
    assert found.first("right", 1.01) is None


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_right_or_wrong_labels_nothing_can_be_compared(share):
    recipe = MOONS.replace(label_noise=share, steps=2)
    with pytest.raises(LabError, match=f"label_noise={share:g} leaves nothing to compare"):
        memorization(fit(recipe), recipe)


def test_a_row_of_the_table(runs):
    history = runs[MOONS]
    found = row(MOONS, history, 60)
    flat, start = history.flat(60), history.flat(0)
    assert (found["training samples"], found["step"]) == (105, 60)
    assert found["best step"] == history.best_step()
    assert found["norm"] == pytest.approx(np.sqrt(np.sum(flat.astype(float) ** 2)))
    assert found["distance"] == pytest.approx(np.linalg.norm(flat - start), rel=1e-5)
    assert found["largest"] == pytest.approx(np.abs(flat).max())
    assert found["gap"] == pytest.approx(found["train accuracy"] - found["val accuracy"])
    assert row(MOONS, history)["step"] == 200


def test_what_cannot_be_judged_says_so():
    curve = Recipe(task="regression", steps=2)
    with pytest.raises(LabError, match="'regression' has no classes, so it has no accuracy"):
        accuracy(curve, fit(curve).flat())
