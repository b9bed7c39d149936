"""Surfaces: of two colours each, from 0 to 255, drawn in the direction that they run in."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from labkit.vision.synthetic.scenes import fills
from tests.vision.synthetic.drawing import rng

ALL = {fill.__name__: fill for fill in (*fills.PLAIN, *fills.TEXTURES.values())}
TWO_COLOURS = [name for name in ALL if name not in ("flat", "photograph")]


@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 40), (7, 7)])
@pytest.mark.parametrize("name", ALL)
def test_a_surface_has_its_size_and_range(name, height, width):
    for seed in range(4):
        surface = ALL[name](rng(seed), height, width)
        assert surface.shape == (height, width, 3)
        assert surface.dtype == np.float32
        low, high = (-60, 315) if name == "grain" else (-1e-3, 255.001)  # cubic overshoot
        assert low < surface.min() <= surface.max() < high


@pytest.mark.parametrize("name", TWO_COLOURS)
def test_its_colours_lie_between_two(name):
    for seed in range(3):
        pixels = ALL[name](rng(seed), 48, 48).reshape(-1, 3).astype(float)
        sizes = np.linalg.svd(pixels - pixels.mean(0), compute_uv=False)
        assert sizes[1] < 1e-4 * sizes[0], "on one line in the space of colours"


@pytest.mark.parametrize("name", fills.TEXTURES)
def test_a_texture_can_be_told_from_a_plain_surface(name):
    for seed in range(10):
        texture = fills.TEXTURES[name](rng(seed), 96, 96)
        assert np.ptp(texture, axis=(0, 1)).max() > 100


def test_a_flat_surface_has_one_colour():
    assert np.ptp(fills.flat(rng(0), 9, 11), axis=(0, 1)).max() == 0


def test_colours_are_livelier_than_chance_would_have_them():
    generator = rng(0)
    colours = np.array([fills.colour(generator) for _ in range(800)])
    chance = generator.uniform(0, 255, (800, 3))

    def saturation(pixels: np.ndarray) -> float:
        return float(np.mean([colorsys.rgb_to_hsv(*pixel / 255)[1] for pixel in pixels]))

    hues = [colorsys.rgb_to_hsv(*pixel / 255)[0] for pixel in colours]
    assert np.histogram(hues, 6, (0, 1))[0].min() > 800 / 6 / 2, "hues of all kinds"
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert colours.max(1).mean() > 130
    assert saturation(colours) > 0.5
    assert np.std(colours.max(1)) > np.std(chance.max(1))


@pytest.mark.parametrize("shape", [(64, 64), (30, 90)])
def test_noise_fills_its_range_and_more_cells_are_finer(shape):
    def roughness(cells: float) -> float:
        clouds = fills.noise(rng(5), *shape, cells, 1)
        assert clouds.shape == shape
        assert (clouds.min(), clouds.max()) == (0, pytest.approx(1))
        return float(np.abs(np.diff(clouds, axis=1)).mean())

    assert roughness(4) < roughness(10) < roughness(24)


@pytest.mark.parametrize("contrast", [0, 60, 110])
def test_mixed_colours_differ_by_the_contrast(contrast):
    share = np.array([[0.0, 0.5, 1.0]])
    for seed in range(20):
        first, middle, last = fills.mix(rng(seed), share, contrast)[0]
        assert np.abs(first - last).max() >= contrast
        np.testing.assert_allclose(middle, (first + last) / 2, atol=1e-3)


def test_grain_runs_one_way():
    ratios = []
    for seed in range(20):
        surface = fills.grain(rng(seed), 80, 80)[..., 0]
        steps = [np.abs(np.diff(surface, axis=axis)).mean() for axis in (0, 1)]
        ratios.append(max(steps) / max(min(steps), 1e-9))
    assert np.median(ratios) > 2


def test_photographs_are_pieces_of_scikit_learns():
    from sklearn.datasets import load_sample_images

    known = {
        tuple(np.round(image.mean((0, 1)) / 20).astype(int))
        for image in load_sample_images().images
    }
    assert len(fills._photographs()) == len(known) == 2
    for shrunk, image in zip(fills._photographs(), load_sample_images().images, strict=True):
        assert shrunk.mean((0, 1)) == pytest.approx(image.mean((0, 1)), abs=1)
    pieces = [fills.photograph(rng(seed), 32, 32) for seed in range(6)]
    assert len({piece.tobytes() for piece in pieces}) == 6
    assert min(piece.std() for piece in pieces) > 5
