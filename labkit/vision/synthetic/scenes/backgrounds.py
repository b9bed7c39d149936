"""Backgrounds: clutter in layers, so that no plain surface gives an object away."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from labkit.vision.synthetic.scenes import fills, shapes

_GROUNDS = (fills.photograph, fills.clouds, fills.gradient, fills.grain)


def background(generator: Generator, size: int) -> np.ndarray:
    """(size, size, 3) float32, 0 to 255."""
    ground = _GROUNDS[generator.choice(4, p=[0.4, 0.25, 0.15, 0.2])](generator, size, size)
    if generator.random() < 0.3:  # a horizon, a wall, a table's edge
        other = _GROUNDS[generator.choice(4)](generator, size, size)
        edge = fills.noise(generator, size, size, 2, 1) > generator.uniform(0.35, 0.65)
        ground = np.where(edge[..., None], other, ground)
    for _ in range(generator.poisson(3)):
        _litter(generator, ground)
    if generator.random() < 0.5:
        _lines(generator, ground)
    return ground


def _litter(generator: Generator, image: np.ndarray) -> None:
    """A rag of no shape that has a name, half transparent at times."""
    size = len(image)
    side = int(size * generator.uniform(0.06, 0.5))
    corners = np.sort(generator.uniform(0, 2 * np.pi, int(generator.integers(5, 12))))
    radius = generator.uniform(0.25, 1, len(corners))
    points = np.stack([np.cos(corners), np.sin(corners)], 1) * radius[:, None]
    left, top = generator.integers(-side // 2, size - side // 2, 2)
    mask = shapes.polygon(points, side).astype(np.float32) / 255
    paste(
        image,
        fills.PLAIN[generator.choice(5)](generator, side, side),
        mask * generator.uniform(0.4, 1),
        int(left),
        int(top),
    )


def _lines(generator: Generator, image: np.ndarray) -> None:
    """Scratches, twigs, wires."""
    for _ in range(generator.integers(1, 7)):
        points = generator.uniform(-0.2, 1.2, (4, 2)) * len(image)
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 3 * points[0] + 3 * (1 - t) ** 2 * t * points[1]
        curve = curve + 3 * (1 - t) * t**2 * points[2] + t**3 * points[3]
        width = max(1, round(len(image) * generator.uniform(0.003, 0.012)))
        path = [np.round(curve * 16).astype(np.int32)]
        cv2.polylines(image, path, False, fills.colour(generator).tolist(), width, cv2.LINE_AA, 4)


def overlap(
    image: tuple[int, ...], patch: tuple[int, ...], left: int, top: int
) -> tuple[slice, slice, tuple[slice, slice]]:
    """Where a patch lies in an image: rows and columns there, and both in the patch."""
    rows = slice(max(top, 0), min(top + patch[0], image[0]))
    columns = slice(max(left, 0), min(left + patch[1], image[1]))
    inside = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    return rows, columns, inside


def paste(image: np.ndarray, patch: np.ndarray, alpha: np.ndarray, left: int, top: int) -> None:
    """Blend a patch into an image, in place.

    Args:
        image: (H, W, 3) float32.
        patch: (h, w, 3) float32; may lie partly outside.
        alpha: (h, w) float32, 0 to 1.
        left: pixels, may be negative.
        top: likewise.
    """
    rows, columns, inside = overlap(image.shape, patch.shape, left, top)
    target = image[rows, columns]
    target += (patch[inside] - target) * alpha[inside][..., None]
