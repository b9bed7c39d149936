"""Backgrounds: patches blended where they lie, and clutter that differs from image to image."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.vision.synthetic.scenes.backgrounds import background, overlap, paste
from tests.vision.synthetic.drawing import rng

PLACES = [(3, 2), (-4, 1), (17, -3), (-2, 15), (19, 17)]


@pytest.mark.parametrize(("left", "top"), PLACES)
def test_a_patch_is_blended_where_it_lies(left, top):
    image = rng(0).random((20, 22, 3), dtype=np.float32)
    patch, alpha = rng(1).random((8, 8, 3), np.float32), rng(2).random((8, 8), np.float32)
    expected = np.pad(image, ((50, 50), (50, 50), (0, 0)))
    place = expected[50 + top : 58 + top, 50 + left : 58 + left]
    place[:] = (1 - alpha[..., None]) * place + alpha[..., None] * patch
    paste(image, patch, alpha, left, top)
    np.testing.assert_allclose(image, expected[50:-50, 50:-50], atol=1e-6)


@pytest.mark.parametrize(("left", "top"), PLACES)
def test_what_a_patch_and_an_image_share(left, top):
    """The oracle: each pixel of the patch knows where it comes to lie."""
    image, patch = np.zeros((20, 22, 2), int), np.mgrid[0:8, 0:8].transpose(1, 2, 0)
    rows, columns, inside = overlap(image.shape, patch.shape, left, top)
    image[:] = np.mgrid[0:20, 0:22].transpose(1, 2, 0)
    np.testing.assert_array_equal(image[rows, columns], patch[inside] + [top, left])
    seen = [(y, x) for y in range(8) for x in range(8) if 0 <= y + top < 20 and 0 <= x + left < 22]
    assert patch[inside].shape[:2] == (rows.stop - rows.start, columns.stop - columns.start)
    assert patch[inside].size == 2 * len(seen)


@pytest.mark.parametrize("size", [64, 97])
def test_grounds_are_images_and_no_two_are_alike(size):
    grounds = [background(rng(seed), size) for seed in range(12)]
    for ground in grounds:
        assert ground.shape == (size, size, 3)
        assert ground.dtype == np.float32
        assert ground.min() > -60, "cubic clouds overshoot a little, and no more"
        assert ground.max() < 315
    means = np.array([ground.mean((0, 1)) for ground in grounds])
    assert np.linalg.norm(means[:, None] - means, axis=2)[np.triu_indices(12, 1)].min() > 0.5
    np.testing.assert_array_equal(background(rng(3), size), grounds[3])
