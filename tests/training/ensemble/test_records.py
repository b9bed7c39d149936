"""What members leave behind, against the rows that were handed in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.recipe.recipe import Recipe
from labkit.training.ensemble import records as module
from labkit.training.ensemble.records import KEPT, Records, stride_for
from labkit.training.layout import Layout

LAYOUT = Layout(("w", "b"), ((2, 3), (2,)))


@pytest.mark.parametrize("steps", [1, 5, 199, 200, 201, 1000, 12_345])
def test_no_more_moments_are_kept_than_are_wanted(steps):
    stride = stride_for(steps)
    assert stride & (stride - 1) == 0, "a power of two"
    assert steps / stride <= KEPT
    assert stride == 1 or steps / (stride / 2) > KEPT, "no wider than it must be"


@pytest.mark.parametrize("spacing", [1, 4])
@pytest.mark.parametrize("stage", [1, 4 * 2**20], ids=["one by one", "together"])
def test_a_member_that_left_keeps_its_own_rows(stage, spacing, monkeypatch):
    monkeypatch.setattr(module, "_STAGE_BYTES", stage)
    monkeypatch.setattr(module, "SNAPSHOT_BYTES", 4 * 2 * LAYOUT.total * (41 // spacing + 1))
    recipes = [Recipe(steps=40, seed=0), Recipe(steps=40, seed=1)]
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(41, 2, LAYOUT.total)).astype(np.float32)
    losses = rng.uniform(size=(41, 2)).astype(np.float32)
    # The members stand the other way round: row 0 is the second recipe, which leaves at 25.
    records, rows = Records(recipes, LAYOUT, np.array([1, 0])), [1, 0]
    for step in range(41):
        now, before = (torch.from_numpy(weights[k][rows]) for k in (step, max(0, step - 1)))
        if step:
            records.loss(losses[step][rows])
        records.moment(step, now, torch.ones_like(now), before if step else None)
        if step % 10 == 0:
            records.evaluation(step, np.full((len(rows), 4), step) + np.array(rows)[:, None])
        if step == 25:
            records.leave(step, np.array([0]), now, [np.full(26, 0.5)])
            rows = [0]
    records.leave(40, np.array([0]), now, [np.full(41, 0.1)])
    for member, last in ((0, 40), (1, 25)):
        history, own = records.history(member), weights[: last + 1, member]
        assert history.last_step == last
        np.testing.assert_array_equal(history.curve("loss")[1], losses[1 : last + 1, member])
        judged = list(range(0, last + 1, 10))
        assert history.curve("val_loss")[0].tolist() == judged
        assert history.curve("val_loss")[1].tolist() == [step + member for step in judged]
        np.testing.assert_array_equal(history.flat(), own[last])
        steps, kept = history.snapshots()
        assert steps.tolist() == list(range(0, last + 1, spacing))
        np.testing.assert_array_equal(kept, own[steps])
        numbers, means = history.statistic("mean", "w")
        assert numbers.tolist() == list(range(last + 1))
        np.testing.assert_allclose(means, own[:, :6].mean(1), rtol=1e-4, atol=1e-6)
        norms = np.linalg.norm(np.diff(own[:, :6], axis=0), axis=1)
        ratios = norms / np.linalg.norm(own[:-1, :6], axis=1)
        np.testing.assert_allclose(history.statistic("update_ratio", "w")[1][1:], ratios, rtol=1e-3)
