"""Outlines have the areas that geometry says, and no two classes are alike."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.vision.synthetic.scenes.shapes import SHAPES, blob

SIZE = 200
RADIUS = 0.46 * SIZE


def area(name: str) -> float:
    return float(SHAPES[name](np.random.default_rng(0), SIZE).sum() / 255)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("disc", np.pi * RADIUS**2),
        ("square", 2 * RADIUS**2),
        ("triangle", 3 * np.sqrt(3) / 4 * RADIUS**2),
        ("hexagon", 3 * np.sqrt(3) / 2 * RADIUS**2),
    ],
)
def test_areas(name, expected):
    assert area(name) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("name", [*SHAPES, "blob"])
def test_every_outline_is_filled_inside_its_square(name):
    shape = SHAPES.get(name, blob)
    for seed in range(5):
        mask = shape(np.random.default_rng(seed), 64)
        assert mask.shape == (64, 64)
        assert mask.dtype == np.uint8
        assert mask.max() == 255
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert edge.max() == 0, "the outline is cut off by its square"


def test_no_two_classes_are_alike():
    masks = {name: shape(np.random.default_rng(1), 64) > 127 for name, shape in SHAPES.items()}
    for name, mask in masks.items():
        for other, second in masks.items():
            if name < other:
                overlap = (mask & second).sum() / (mask | second).sum()
                assert overlap < 0.93, f"{name} and {other} cover the same pixels"


def test_a_cross_has_four_equal_arms():
    mask = SHAPES["cross"](np.random.default_rng(3), SIZE).astype(int)
    for turned in (np.rot90(mask), mask[::-1]):
        assert np.abs(mask - turned).mean() < 4
