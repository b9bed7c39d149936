"""Metal parts: whole, of one piece, and as large as geometry says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labkit.vision.synthetic.sets import parts
from labkit.vision.synthetic.sets.canvas import coordinates
from tests.vision.synthetic.drawing import rng


@pytest.mark.parametrize("part", range(len(parts.NAMES)), ids=parts.NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_a_part_is_whole_on_its_patch(part, seed):
    height, mask = parts.PARTS[part](rng(seed), 80.0)
    assert height.shape == mask.shape
    assert (height[~mask] == 0).all()
    assert np.isfinite(height).all()
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert not edge.any(), "nothing of it is cut off"
    pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert pieces == 1


def holes(mask: np.ndarray) -> list[int]:
    """The areas of what the part encloses, the largest first."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(
        np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=4
    )
    outside = regions[0, 0]
    areas = [stats[k, cv2.CC_STAT_AREA] for k in range(1, count) if k != outside]
    return sorted(areas, reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_nut_is_a_hexagon_with_one_round_hole(seed):
    size = 80.0
    _, mask = parts.nut(rng(seed), size)
    (hole,) = holes(mask)
    hexagon = 3 * np.sqrt(3) / 2 * (size / 2) ** 2
    assert mask.sum() + hole == pytest.approx(hexagon, rel=0.02)
    radius = np.sqrt(hole / np.pi) / (size / 2)
    assert 0.42 < radius < 0.53


def test_the_nearest_flat_side_of_a_hexagon():
    x, y = coordinates(81)
    found = parts._hexagon(x, y)
    angles = np.arctan2(y, x)
    turned = (angles + np.pi / 6) % (np.pi / 3) - np.pi / 6  # from the nearest side's middle
    np.testing.assert_allclose(found, np.hypot(x, y) * np.cos(turned), atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_washer_is_a_ring_and_a_spring_washer_is_cut(seed):
    _, mask = parts.washer(rng(seed), 80.0)
    _, columns = np.nonzero(mask)
    outer = (columns.max() - columns.min() + 1) / 2
    enclosed = holes(mask)
    assert len(enclosed) in (0, 1)
    if enclosed:
        ring = np.pi * outer**2 - enclosed[0]
        assert mask.sum() == pytest.approx(ring, rel=0.05)  # of a raster
    else:
        assert mask.sum() < np.pi * outer**2


@pytest.mark.parametrize("seed", range(4))
def test_a_gear_has_equal_teeth_all_around(seed):
    _, mask = parts.gear(rng(seed), 90.0)
    middle = (len(mask) - 1) / 2
    radii = [
        np.hypot(rows - middle, columns - middle).max() for rows, columns in [np.nonzero(mask)]
    ]
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    rims = []
    for share in (0.88, 0.91, 0.94):
        rows, columns = (
            np.rint(middle + share * radii[0] * f(angles)).astype(int) for f in (np.sin, np.cos)
        )
        rims.append(mask[rows, columns].astype(float))
    spectrum = np.abs(np.fft.rfft(sum(rims) - np.mean(sum(rims))))
    teeth = int(spectrum[:30].argmax())
    assert 12 <= teeth <= 24
    assert spectrum[teeth] > 5 * np.delete(spectrum[:30], teeth).max()


@pytest.mark.parametrize("seed", range(4))
def test_a_bolt_is_long_and_its_head_wider_than_its_shank(seed):
    _, mask = parts.bolt(rng(seed), 80.0)
    points = np.argwhere(mask)[:, ::-1].astype(np.float32)
    (_, _), (width, height), _ = cv2.minAreaRect(points)
    assert max(width, height) > 1.4 * min(width, height)
    centred = points - points.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2]
    along, across = (centred @ axis.T).T
    ends = [np.ptp(across[slice_]) for slice_ in (along < along.min() + 8, along > along.max() - 8)]
    assert max(ends) > 1.5 * min(ends)
