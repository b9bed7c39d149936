"""Scenes: detection images drawn by rules, as varied as the rules allow.

Thirteen shapes and three textures on cluttered grounds, lit, hidden by each other, blurred
and noisy. `draw` makes one from random numbers; nothing else decides what is on it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from labkit.vision.synthetic.drawn import Drawn
from labkit.vision.synthetic.scenes import camera, fills, objects, shapes
from labkit.vision.synthetic.scenes.backgrounds import background, overlap, paste

NAMES = (*shapes.SHAPES, *fills.TEXTURES)

MOST = 12  # objects
SMALLEST, LARGEST = 0.08, 0.6  # sides of an object, as shares of the image
CROWDED = 0.45  # no object is hidden more by others than to this share of its area
HIDDEN = 0.35  # what is seen less than this, at the image's edge or behind others, has no box
TINY = 4  # pixels; what is smaller has no box


def draw(generator: Generator, size: int = 320) -> Drawn:
    """One scene.

    Args:
        generator: decides everything.
        size: pixels, height and width.

    Returns:
        The image, and a box around what can be seen of each object; an object of which less
        than a third can be seen has none.
    """
    image = background(generator, size)
    owners = np.full((size, size), -1, np.int16)  # the object that each pixel shows
    kinds: list[int] = []
    areas: list[int] = []  # pixels of each, with what is hidden or outside
    for _ in range(generator.integers(1, MOST + 1)):
        kind = int(generator.integers(len(NAMES)))
        side = round(size * SMALLEST * (LARGEST / SMALLEST) ** generator.random() ** 1.1)
        mask = objects.outline(generator, NAMES[kind], side)
        left, top = map(int, generator.uniform(-0.15 * side, size - 0.85 * side, 2))
        rows, columns, inside = overlap(owners.shape, mask.shape, left, top)
        covered = owners[rows, columns][mask[inside] > 127]
        if _hides_most(covered, owners, areas):
            continue
        behind = image[rows, columns].mean((0, 1))
        cover = objects.surface(generator, NAMES[kind], side, behind)
        cover = objects.shade(generator, cover, mask)
        if generator.random() < 0.4:
            _shadow(generator, image, mask, left, top)
        paste(image, cover, mask.astype(np.float32) / 255, left, top)
        owners[rows, columns][mask[inside] > 127] = len(areas)
        kinds.append(kind)
        areas.append(int(np.count_nonzero(mask > 127)))
    pixels = camera.photograph(generator, camera.light(generator, image))
    return Drawn(pixels, *_boxes(owners, np.array(kinds, np.int64), np.array(areas)))


def _hides_most(covered: np.ndarray, owners: np.ndarray, areas: list[int]) -> bool:
    """Whether too little would be left to see of an object that is there."""
    for number in np.unique(covered[covered >= 0]):
        left = np.count_nonzero(owners == number) - np.count_nonzero(covered == number)
        if left < CROWDED * areas[number]:
            return True
    return False


def _shadow(generator: Generator, image: np.ndarray, mask: np.ndarray, left: int, top: int) -> None:
    side = len(mask)
    soft = cv2.GaussianBlur(mask, (0, 0), max(1.0, side * generator.uniform(0.01, 0.06)))
    dark = soft.astype(np.float32) / 255 * np.float32(generator.uniform(0.2, 0.6))
    shift = generator.uniform(-0.1, 0.1, 2) * side
    black = np.zeros((side, side, 3), np.float32)
    paste(image, black, dark, left + round(shift[0]), top + round(shift[1]))


def _boxes(
    owners: np.ndarray, kinds: np.ndarray, areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) around what can be seen, and their classes (n,)."""
    boxes, kept = [], []
    for number, area in enumerate(areas):
        rows, columns = np.nonzero(owners == number)
        if len(rows) < HIDDEN * area:
            continue
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        if min(box[2] - box[0], box[3] - box[1]) >= TINY:
            boxes.append(box)
            kept.append(kinds[number])
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(kept, np.int64)
