"""Objects: a shape with a surface, turned, shaded, and distinct from the background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from labkit.vision.synthetic.scenes import fills, shapes

CONTRAST = 40  # levels of at least one channel, between an object and what is behind it


def outline(generator: Generator, name: str, side: int) -> np.ndarray:
    """A shape's mask, turned and a little out of square; (side, side) uint8."""
    shape = shapes.SHAPES.get(name, shapes.blob)
    mask = shape(generator, side)
    turn = cv2.getRotationMatrix2D(
        (side / 2 - 0.5, side / 2 - 0.5), generator.uniform(0, 360), 0.94
    )
    squeeze = np.diag([generator.uniform(0.78, 1), 1]) @ _rotation(generator.uniform(0, np.pi))
    turn[:, :2] = squeeze @ turn[:, :2]
    middle = np.full(2, side / 2 - 0.5)
    turn[:, 2] = middle - turn[:, :2] @ middle
    return cv2.warpAffine(mask, turn, (side, side), flags=cv2.INTER_LINEAR)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def surface(generator: Generator, name: str, side: int, behind: np.ndarray) -> np.ndarray:
    """What an object is covered with, (side, side, 3) float32.

    Args:
        generator: decides everything.
        name: of the class.
        side: pixels.
        behind: (3,) the mean colour of what the object will hide.
    """
    if name in fills.TEXTURES:
        return fills.TEXTURES[name](generator, side, side)
    for _ in range(4):
        fill = fills.PLAIN[generator.choice(5, p=[0.3, 0.25, 0.15, 0.15, 0.15])]
        cover = fill(generator, side, side)
        if np.abs(cover.mean((0, 1)) - behind).max() > CONTRAST:
            break
    return cover


def shade(generator: Generator, cover: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Make a surface look raised, lit from one side, or rimmed; as often leave it flat."""
    chance = generator.random()
    if chance < 0.35:
        height = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(1.0, len(mask) / 12))
        angle, depth = generator.uniform(0, 2 * np.pi), generator.uniform(1, 4)
        slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) * np.cos(angle)
        slope += cv2.Sobel(height, cv2.CV_32F, 0, 1) * np.sin(angle)
        return cover + np.float32(depth * len(mask) / 256) * slope[..., None]
    if chance < 0.55:
        rim = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        inside = (cv2.min(rim, mask).astype(np.float32) / 255)[..., None]
        return cover + inside * (fills.colour(generator) * 0.5 - cover)
    return cover
