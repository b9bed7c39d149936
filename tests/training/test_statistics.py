"""Statistics at any moments, against numpy one moment at a time."""

from __future__ import annotations

import numpy as np

from labkit.training.statistics import STATISTICS, describe, norms


def test_moments_that_do_not_follow_each_other():
    rng = np.random.default_rng(0)
    weights, gradients, updates = rng.normal(size=(3, 4, 2, 6))
    initial = rng.normal(size=(2, 6))
    found = describe(weights, gradients, updates, initial, norms(weights - updates))
    assert found.shape == (4, 2, len(STATISTICS))
    for i, k in np.ndindex(4, 2):
        w, u = weights[i, k], updates[i, k]
        wanted = [
            w.mean(), w.std(), w.min(), w.max(), np.linalg.norm(w),
            np.linalg.norm(gradients[i, k]), np.linalg.norm(u) / np.linalg.norm(w - u),
            np.linalg.norm(w - initial[k]),
        ]  # fmt: skip
        np.testing.assert_allclose(found[i, k], wanted)


def test_moments_that_follow_each_other_need_the_first_norm_alone():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(5, 6))
    updates = np.diff(weights, axis=0, prepend=np.ones((1, 6)))
    alone = describe(weights, weights, updates, weights[0], np.array([np.sqrt(6)]))
    each = describe(weights, weights, updates, weights[0], norms(weights - updates))
    np.testing.assert_allclose(alone, each)


def test_an_update_of_nothing_has_no_ratio():
    zero = np.zeros((1, 3))
    with np.errstate(invalid="ignore"):
        found = describe(zero, zero, zero, zero[0], np.zeros(1))
    assert np.isnan(found[0, STATISTICS.index("update_ratio")])
