"""Cases of 07_data_and_generalization."""

from __future__ import annotations

import pytest

from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit
from tests.notebooks.cases.case import Case, Results


def memorizing_moons(results: Results) -> None:
    assert results["samples"] == [round(350 * s) for s in (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)]
    assert results["gap_by_samples"][0] > 0.15 > 0.06 > results["gap_by_samples"][-1]
    assert results["gap_few"] > 0.08 > results["gap_all"]
    assert results["right_of_missing"] == 0, "no output was ever rewarded for it"
    assert results["sure_of_missing"] > 0.95
    learnt, memorized = (
        results[f"step_{name}"] for name in ("right_labels_learnt", "wrong_labels_memorized")
    )
    assert learnt is not None
    assert memorized is None or memorized > 2 * learnt
    # Memorizing takes large weights; decay and an early end keep them small.
    assert results["norm_noisy"] > 1.15 * results["norm_clean"]
    assert results["norm_decayed"] < 0.6 * results["norm_noisy"]
    assert results["norm_stopped"] < 0.6 * results["norm_noisy"]
    assert results["accuracy_noisy"] < results["accuracy_clean"]
    assert results["accuracy_stopped"] > results["accuracy_noisy"]
    assert results["best_step"] < results["stopped_at"] < 800


def the_numbers_are_the_runs_own(results: Results) -> None:
    """Judged again from a run of the recipe that the notebook describes."""
    noisy = Recipe(
        task="circles", noise=0.1, hidden=(32, 32), optimizer="adamw", steps=200, seed=3,
        data_seed=3, train_share=0.25, label_noise=0.3,
    )  # fmt: skip
    history = fit(noisy)
    assert results["norm_noisy"] == pytest.approx(float((history.flat() ** 2).sum() ** 0.5))
    assert results["accuracy_noisy"] == pytest.approx(history.summary()["val_accuracy"])
    stopped = fit(noisy.replace(patience=2))
    assert results["stopped_at"] == stopped.last_step
    assert results["best_step"] == stopped.best_step()
    # A ring whose quarter is missing cannot be told from an open one.
    assert results["right_of_missing"] < 0.8


def digits_without_a_zero(results: Results) -> None:
    assert results["samples"][-1] == 1797 - 539
    assert results["gap_by_samples"][0] > results["gap_by_samples"][-1]
    assert results["right_of_missing"] == 0
    assert results["accuracy_noisy"] < results["accuracy_clean"]
    assert results["norm_noisy"] > results["norm_clean"]
    assert results["norm_decayed"] < results["norm_noisy"]


RINGS = {"task": "circles", "noise": 0.1, "label_noise": 0.3, "missing": "region", "patience": 2}
DIGITS = {"task": "digits", "noise": 0.0, "label_noise": 0.4, "train_share": 0.03, "steps": 200}
CASES = [
    Case("07", {"steps": 800}, 16, memorizing_moons),
    Case("07", {**RINGS, "steps": 200, "seed": 3}, 16, the_numbers_are_the_runs_own),
    Case("07", DIGITS, 16, digits_without_a_zero),
]
