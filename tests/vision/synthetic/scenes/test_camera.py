"""The camera: light is linear, motion keeps the mean, and images come out as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.vision.synthetic.scenes import camera
from tests.vision.synthetic.drawing import rng


@pytest.mark.parametrize("seed", range(6))
def test_light_is_a_factor_and_an_offset(seed):
    """The same light on black, on an image and on one twice as bright."""
    image = rng(seed).random((40, 50, 3), dtype=np.float32) * 100
    black, once, twice = (camera.light(rng(9, seed), k * image.copy()) for k in (0, 1, 2))
    assert np.ptp(black) == 0
    assert abs(black[0, 0, 0]) <= 15
    np.testing.assert_allclose(twice - black, 2 * (once - black), rtol=1e-3, atol=1e-3)
    factor = (once - black) / image
    assert factor.min() > 0.4 * 0.85 * 0.7 * 0.99
    assert factor.max() < 1.15 * 1.25 * 1.01


def test_light_works_in_place():
    image = np.full((8, 8, 3), 100, np.float32)
    assert camera.light(rng(0), image) is image
    assert (image != 100).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_moved_camera_smears_a_point_along_a_line(seed):
    image = np.zeros((321, 321, 3), np.float32)
    image[160, 160] = 1
    smeared = camera._moved(rng(seed), image)
    assert smeared.sum((0, 1)) == pytest.approx([1, 1, 1], rel=1e-4)
    rows, columns = np.nonzero(smeared[..., 0])
    points = np.stack([rows, columns], 1) - [160, 160]
    assert 2 <= np.ptp(points, axis=0).max() <= 7
    weights = smeared[rows, columns, 0]
    spread = np.linalg.eigvalsh(np.cov(points.T, aweights=weights))
    assert spread[1] > 3 * spread[0], "longer than wide"
    even = np.full((60, 60, 3), 77, np.float32)
    np.testing.assert_allclose(camera._moved(rng(seed), even), even, rtol=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_a_photograph_keeps_the_scene(seed):
    y, x = np.mgrid[0:96, 0:96].astype(np.float32)
    scene = np.dstack([60 + x, 150 - x / 2, 60 + y])
    pixels = camera.photograph(rng(seed), scene.copy())
    assert pixels.dtype == np.uint8
    assert pixels.shape == scene.shape
    assert pixels.mean((0, 1)) == pytest.approx(scene.mean((0, 1)), abs=2)
    np.testing.assert_array_equal(camera.photograph(rng(seed), scene.copy()), pixels)


def test_what_is_too_bright_or_too_dark_is_cut_off():
    for level, expected in ((-500, 0), (900, 255)):
        pixels = camera.photograph(rng(1), np.full((32, 32, 3), level, np.float32))
        assert (np.abs(pixels.astype(int) - expected) <= 1).all()
