"""Outlines: each class of shape as a mask, drawn from rules with some freedom."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

Mask = np.ndarray  # (size, size) uint8, 0 to 255
Shape = Callable[[Generator, int], Mask]

_FILLED = 0.46  # half of what a shape takes of its square, so that smoothed edges fit in
_SUBPIXELS = 4  # bits of a coordinate's fraction, for cv2


def polygon(points: np.ndarray, size: int) -> Mask:
    """A filled polygon; `points` are (n, 2), from -1 to 1, y downwards."""
    mask = np.zeros((size, size), np.uint8)
    scaled = np.round(((points * _FILLED + 0.5) * size - 0.5) * 2**_SUBPIXELS).astype(np.int32)
    return cv2.fillPoly(mask, [scaled], 255, cv2.LINE_AA, _SUBPIXELS)


def around(corners: int, turn: float = 0.0) -> np.ndarray:
    """Points at equal angles on the unit circle, the first one on top."""
    angles = np.arange(corners) * 2 * np.pi / corners + turn - np.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def disc(generator: Generator, size: int) -> Mask:
    return polygon(around(40), size)


def ring(generator: Generator, size: int) -> Mask:
    hole = polygon(around(40) * generator.uniform(0.45, 0.7), size)
    return cv2.subtract(polygon(around(40), size), hole)


def square(generator: Generator, size: int) -> Mask:
    return polygon(around(4, np.pi / 4), size)


def triangle(generator: Generator, size: int) -> Mask:
    return polygon(around(3), size)


def hexagon(generator: Generator, size: int) -> Mask:
    return polygon(around(6), size)


def star(generator: Generator, size: int) -> Mask:
    points = around(10)
    points[1::2] *= generator.uniform(0.35, 0.5)
    return polygon(points, size)


def cross(generator: Generator, size: int) -> Mask:
    arm = generator.uniform(0.22, 0.38)
    corner = np.array([(-arm, -arm), (-arm, -1), (arm, -1)])
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in _QUARTERS]
    return polygon(np.concatenate([corner @ turn for turn in turns]), size)


_QUARTERS = np.arange(4) * np.pi / 2


def crescent(generator: Generator, size: int) -> Mask:
    hole = around(40) * 0.9 + [generator.uniform(0.4, 0.6), 0]
    return cv2.subtract(polygon(around(40), size), polygon(hole, size))


def heart(generator: Generator, size: int) -> Mask:
    """The curve at https://mathworld.wolfram.com/HeartCurve.html (the last of its list)."""
    t = np.linspace(0, 2 * np.pi, 60)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return polygon(np.stack([16 * np.sin(t) ** 3 / 17, -y / 17], 1), size)


def arrow(generator: Generator, size: int) -> Mask:
    shaft, neck = generator.uniform(0.15, 0.3), generator.uniform(-0.2, 0.2)
    right = np.array([(0, -1), (0.75, neck), (shaft, neck), (shaft, 1)])
    return polygon(np.concatenate([right, right[:0:-1] * [-1, 1]]), size)


def gear(generator: Generator, size: int) -> Mask:
    teeth = int(generator.integers(7, 12))
    radius = np.where(np.arange(teeth * 4) % 4 < 2, 1.0, 0.76)
    mask = polygon(around(teeth * 4) * radius[:, None], size)
    return cv2.subtract(mask, polygon(around(32) * generator.uniform(0.2, 0.4), size))


def leaf(generator: Generator, size: int) -> Mask:
    t = np.linspace(0, np.pi, 24)
    half = np.stack([generator.uniform(0.35, 0.5) * np.sin(t) ** 1.3, -np.cos(t)], 1)
    return polygon(np.concatenate([half, half[::-1] * [-1, 1]]), size)


def pill(generator: Generator, size: int) -> Mask:
    width = generator.uniform(0.3, 0.45)
    cap = around(24)[np.r_[18:24, 0:7]] * width
    top = cap - [0, 1 - width]
    return polygon(np.concatenate([top, -top]), size)


def blob(generator: Generator, size: int) -> Mask:
    """No class of its own: a roundish outline that no two share."""
    angles = np.arange(40) * 2 * np.pi / 40
    radius = np.ones(40)
    for waves in range(2, 6):
        radius += generator.uniform(-0.3, 0.3) / waves * np.cos(waves * angles + waves)
        radius += generator.uniform(-0.3, 0.3) / waves * np.sin(waves * angles)
    return polygon(around(40) * (radius / radius.max())[:, None], size)


SHAPES: dict[str, Shape] = {
    shape.__name__: shape
    for shape in (
        disc, ring, square, triangle, hexagon, star, cross, crescent,
        heart, arrow, gear, leaf, pill,
    )
}  # fmt: skip
