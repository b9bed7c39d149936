"""Objects: turned outlines keep their shapes' areas, and surfaces stand out from the ground."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.vision.synthetic.scenes import fills, objects, shapes
from tests.vision.synthetic.drawing import rng

SIDE = 96


@pytest.mark.parametrize("name", [*shapes.SHAPES, *fills.TEXTURES])
def test_an_outline_is_its_shape_turned_and_squeezed(name):
    """A rotation by 0.94 and a squeeze to 0.78 or more: areas follow their determinant."""
    for seed in range(4):
        mask = objects.outline(rng(seed), name, SIDE)
        straight = shapes.SHAPES.get(name, shapes.blob)(rng(seed), SIDE)
        assert mask.shape == (SIDE, SIDE)
        assert mask.dtype == np.uint8
        ratio = mask.sum() / straight.sum()
        assert 0.94**2 * 0.78 * 0.98 < ratio < 0.94**2 * 1.02
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert edge.max() == 0, "nothing of it is cut off"


def test_turns_are_of_all_angles():
    bars = [objects.outline(rng(seed), "triangle", SIDE) > 127 for seed in range(12)]
    shared = [
        (one & other).sum() / (one | other).sum()
        for k, one in enumerate(bars)
        for other in bars[:k]
    ]
    assert np.median(shared) < 0.85


@pytest.mark.parametrize("level", [20, 128, 235])
def test_a_plain_surface_differs_from_what_is_behind_it(level):
    behind = np.full(3, level, np.float32)
    apart = []
    for seed in range(40):
        cover = objects.surface(rng(seed), "disc", 48, behind)
        assert cover.shape == (48, 48, 3)
        apart.append(np.abs(cover.mean((0, 1)) - behind).max() > objects.CONTRAST)
    assert np.mean(apart) > 0.9, "four tries are nearly always enough"


@pytest.mark.parametrize("name", fills.TEXTURES)
def test_a_texture_is_its_own_class(name):
    surface = objects.surface(rng(3), name, 48, np.zeros(3))
    np.testing.assert_array_equal(surface, fills.TEXTURES[name](rng(3), 48, 48))


def test_a_surface_is_raised_or_rimmed_or_left_flat():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[36:60, 36:60] = 255
    cover = np.full((SIDE, SIDE, 3), 100, np.float32)
    inside = mask > 0
    border = inside.copy()
    border[37:59, 37:59] = False
    flat = rimmed = raised = 0
    for seed in range(60):
        changed = (objects.shade(rng(seed), cover, mask) != cover).any(2)
        assert not changed[[0, -1]].any(), "far from the object nothing changes"
        if not changed.any():
            flat += 1
        elif (changed <= border).all():
            rimmed += 1
        else:
            raised += 1
    assert min(flat - 10, rimmed - 3, raised - 8) > 0, (flat, rimmed, raised)


def test_a_raised_surface_is_lit_from_one_side():
    """Light on one flank is shadow on the other: what is added sums to zero."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[30:66, 30:66] = 255
    cover = np.zeros((SIDE, SIDE, 3), np.float32)
    lit = [objects.shade(rng(seed), cover, mask) for seed in range(20)]
    raised = [picture for picture in lit if (picture < 0).any()]
    assert raised
    for picture in raised:
        assert abs(picture.sum()) < 1e-3 * np.abs(picture).sum()
        np.testing.assert_allclose(picture, -picture[::-1, ::-1], atol=1e-2)
