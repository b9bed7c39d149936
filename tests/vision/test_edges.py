from __future__ import annotations

import numpy as np
import pytest

from labkit.vision import edge_shares

RNG = np.random.default_rng(0)
ACROSS = np.array([[-1, 0, 1]] * 3, float)


def test_slopes_are_edges_and_constants_are_not():
    filters = np.stack([ACROSS, ACROSS.T, 2 * ACROSS - 3 * ACROSS.T, np.ones((3, 3))])[:, None]
    np.testing.assert_allclose(edge_shares(filters), [1, 1, 1, 0], atol=1e-12)
    sharp = np.array([[0, 0, 0], [1, -2, 1], [0, 0, 0]], float)  # a line, not an edge
    np.testing.assert_allclose(edge_shares(sharp[None, None]), [0], atol=1e-12)


def test_random_numbers_are_edges_by_chance_alone():
    for side in (3, 5):
        shares = edge_shares(RNG.normal(size=(4000, 3, side, side)))
        assert shares.mean() == pytest.approx(2 / side**2, rel=0.03)


def test_it_is_what_a_least_squares_plane_explains():
    """Against numpy's least squares: the plane's share without its constant."""
    filters = RNG.normal(size=(5, 2, 3, 4))
    rows, columns = np.mgrid[:3, :4]
    plane = np.stack([np.ones(12), rows.ravel(), columns.ravel()], 1)
    for one, share in zip(filters, edge_shares(filters), strict=True):
        flat = one.reshape(2, 12).T
        fitted = plane @ np.linalg.lstsq(plane, flat, rcond=None)[0]
        slopes = fitted - fitted.mean(0)
        assert share == pytest.approx((slopes**2).sum() / (flat**2).sum())


def test_scale_does_not_matter_and_zero_has_none():
    one = RNG.normal(size=(1, 3, 3, 3))
    np.testing.assert_allclose(edge_shares(one), edge_shares(-7 * one))
    assert np.isnan(edge_shares(np.zeros((1, 3, 3, 3)))).all()
