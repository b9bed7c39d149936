"""Cells: painted where their masks say, in the shapes that are told apart under a microscope."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labkit.vision.synthetic.sets import cells
from tests.vision.synthetic.drawing import bounds, rng


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_is_seen_where_its_mask_says(seed):
    stain = cells._Stain(rng(seed))
    thickness, mask = cells.red_cell(rng(seed), 36.0, 0.9)
    painted = {
        "red": (thickness > 0.15, mask),
        "white": _painted(cells.white_cell(rng(seed), 60.0, "neutrophil", stain)),
        "platelet": _painted(cells.platelet(rng(seed), 14.0, stain)),
    }
    for kind, (seen, outline) in painted.items():
        slack = 5 if kind == "platelet" else 3  # in the canvas' half pixels: it fades out
        assert np.abs(bounds(seen) - bounds(outline)).max() <= slack, kind


def _painted(drawn: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    absorbance, mask = drawn
    return absorbance.max(2) > 0.06, mask


def test_a_red_cell_is_paler_in_the_middle_and_a_spherocyte_is_not():
    """Evans & Fung (1972): the middle is much thinner than the ring around it."""
    middles = {0.0: [], 1.0: []}
    for pallor, shares in middles.items():
        for seed in range(30):
            thickness, mask = cells.red_cell(rng(seed), 40.0, pallor)
            distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
            depth = distance / distance.max()
            ring = thickness[(depth > 0.3) & (depth < 0.5)].mean()
            shares.append(thickness[depth > 0.9].mean() / ring)
    assert np.median(middles[1.0]) < 0.6
    assert np.median(middles[0.0]) > 1.0


KINDS = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")


@pytest.mark.parametrize("kind", KINDS)
def test_a_nucleus_lies_in_its_cell_and_is_darker(kind):
    stain = cells._Stain(rng(0))
    for seed in range(4):
        absorbance, mask = cells.white_cell(rng(seed), 60.0, kind, stain)
        assert np.isfinite(absorbance).all()
        assert (absorbance >= 0).all()
        dark = absorbance[..., 0] > 0.5 * stain.nucleus[0]
        assert (dark & mask).sum() > 0.95 * dark.sum()
        assert 0.1 < dark.sum() / mask.sum() < 0.9


def test_nuclei_have_the_outlines_of_their_kinds():
    """A lymphocyte's is a ball, a granulocyte's has lobes: its hull has gaps."""
    solid = {}
    x, y = np.meshgrid(*[np.arange(-80, 81, dtype=np.float32)] * 2)
    for kind in KINDS:
        shares = []
        for seed in range(6):
            nucleus = (cells._nucleus(rng(seed), x, y, 60.0, kind) > 0.5).astype(np.uint8)
            outlines, _ = cv2.findContours(nucleus, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            hull = cv2.convexHull(np.concatenate(outlines))
            shares.append(nucleus.sum() / cv2.contourArea(hull))
        solid[kind] = np.mean(shares)
    assert solid["lymphocyte"] > 0.98
    assert max(solid["neutrophil"], solid["eosinophil"]) < 0.95


@pytest.mark.parametrize(("left", "top"), [(2, 3), (-3, 1), (7, -2), (8, 8)])
def test_taken_places_are_those_under_the_mask(left, top):
    taken = rng(0).integers(0, 3, (12, 12)).astype(np.uint8)
    mask = rng(1).random((6, 5)) < 0.5
    whole = np.zeros((40, 40), bool)
    whole[10 + top : 16 + top, 10 + left : 15 + left] = mask
    covered = whole[10:22, 10:22]
    np.testing.assert_array_equal(cells._under(taken, mask, left, top), taken[covered])
    expected = np.where(covered, 9, taken)
    cells._take(taken, mask, left, top, 9)
    np.testing.assert_array_equal(taken, expected)
