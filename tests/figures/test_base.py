from __future__ import annotations

import numpy as np
import pytest

from labkit.figures.base import bound, decades, finite, limits, nice, positive, smooth, thin


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 1000, 5000, 100_001])
def test_thin_keeps_first_and_last_and_few(count):
    index = thin(count)
    assert len(index) <= 257
    assert (np.diff(index) > 0).all()
    if count:
        assert (index[0], index[-1]) == (0, count - 1)
    if count > 256:
        assert len(index) >= 128


def test_thin_points_stay_while_a_run_grows():
    assert set(thin(1000)[:-1]) <= set(thin(1001))


@pytest.mark.parametrize(("value", "expected"), [(1, 1), (1.01, 2), (3, 5), (7, 10), (0.03, 0.05)])
def test_nice_is_1_2_5(value, expected):
    assert nice(value) == pytest.approx(expected)


def test_ranges_hold_all_finite_numbers():
    rng = np.random.default_rng(0)
    for scale in (1e-30, 1e-3, 1.0, 7e4, 1e38):
        for shift in (-2, 0, 5):
            values = scale * (rng.normal(size=50) + shift)
            values[:3] = np.nan, np.inf, -np.inf
            good = values[np.isfinite(values)]
            low, high = limits(values)
            assert low <= good.min() + 1e-9 * scale
            assert high >= good.max() - 1e-9 * scale
            assert high - low < 3 * (good.max() - good.min())
            assert np.abs(good).max() <= bound(values) * (1 + 1e-9)
            above = positive(values)
            above = above[np.isfinite(above)]
            if len(above):
                low, high = decades(values)
                assert low - 1e-9 <= np.log10(above.min())
                assert np.log10(above.max()) <= high + 1e-9


@pytest.mark.parametrize("values", [[], [0.0], [2.0, 2.0], [np.nan], [-3e-5], [np.inf]])
def test_ranges_of_nothing_or_one_number_are_not_empty(values):
    array = np.array(values)
    for low, high in (limits(array), decades(array)):
        assert np.isfinite([low, high]).all()
        assert low < high
    assert bound(array) > 0


def test_smooth_is_the_mean_of_the_last_finite_values():
    values = np.random.default_rng(0).normal(size=700)
    values[[3, 50, 51]] = np.nan, np.inf, np.nan
    index, means = smooth(values, 20)
    clean = finite(values)
    expected = [np.nanmean(clean[max(0, i - 19) : i + 1]) for i in index]
    np.testing.assert_allclose(means, expected)
    assert np.isnan(smooth(np.full(5, np.nan), 2)[1]).all()
