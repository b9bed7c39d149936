"""Surfaces: what shapes and backgrounds are covered with."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

Texture = np.ndarray  # (height, width, 3) float32, 0 to 255


def colour(generator: Generator) -> np.ndarray:
    """Any colour, more often a lively one than chance would have it."""
    hue, saturation, value = (
        generator.random(),
        generator.random() ** 0.7,
        generator.random() ** 0.6,
    )
    hsv = np.array([[[hue * 180, saturation * 255, 25 + value * 230]]]).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def noise(generator: Generator, height: int, width: int, cells: float, octaves: int = 4) -> Texture:
    """Clouds, (height, width) from 0 to 1: a sum of smooth noises, each finer and weaker."""
    clouds = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows, columns = (
            max(2, int(cells * 2**octave * n / max(height, width))) for n in (height, width)
        )
        if max(rows, columns) > max(height, width):
            break
        coarse = generator.random((rows, columns), np.float32)
        clouds += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return _stretched(clouds)


def flat(generator: Generator, height: int, width: int) -> Texture:
    return np.full((height, width, 3), colour(generator), np.float32)


def gradient(generator: Generator, height: int, width: int) -> Texture:
    angle = generator.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    return mix(generator, _stretched(x * np.cos(angle) + y * np.sin(angle)))


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / max(high - low, 1e-9)


def clouds(generator: Generator, height: int, width: int) -> Texture:
    return mix(generator, noise(generator, height, width, generator.uniform(2, 8)))


def grain(generator: Generator, height: int, width: int) -> Texture:
    """Fine noise drawn out in one direction, as in wood, brushed metal or grass."""
    long, short = (height, width) if generator.random() < 0.5 else (width, height)
    rows = noise(generator, long, max(2, short // int(generator.integers(6, 30))), long / 3, 2)
    drawn = cv2.resize(rows, (short, long), interpolation=cv2.INTER_CUBIC)
    return mix(generator, drawn if (long, short) == (height, width) else drawn.T)


def mix(generator: Generator, share: np.ndarray, contrast: float = 0.0) -> Texture:
    """Two colours by share (height, width); `contrast` is how far apart they are at least."""
    first, second = colour(generator), colour(generator)
    while np.abs(first - second).max() < contrast:
        second = colour(generator)
    return first + share[..., None].astype(np.float32) * (second - first)


@functools.cache
def _photographs() -> tuple[np.ndarray, ...]:
    from sklearn.datasets import load_sample_images  # two photographs come with scikit-learn

    return tuple(cv2.resize(image, None, fx=0.75, fy=0.75) for image in load_sample_images().images)


def photograph(generator: Generator, height: int, width: int) -> Texture:
    """A piece of a photograph, of any size, either way round, its colours turned."""
    whole = _photographs()[generator.integers(len(_photographs()))]
    most = min(whole.shape[:2])
    side = int(generator.uniform(0.15, 1) * most)
    top, left = (int(generator.integers(0, n - side + 1)) for n in whole.shape[:2])
    piece = whole[top : top + side, left : left + side][:, :: generator.choice([1, -1])]
    piece = piece[..., generator.permutation(3)]
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _waves(generator: Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two crossing ramps, slightly bent, counted in periods of a pattern."""
    period = max(height, width) / generator.uniform(3.5, 7)
    angle, bend = generator.uniform(0, np.pi), generator.uniform(0, 0.35)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / period
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return along + bend * np.sin(across), across


def stripes(generator: Generator, height: int, width: int) -> Texture:
    along, _ = _waves(generator, height, width)
    return mix(generator, _sharp(np.sin(2 * np.pi * along)), 110)


def checks(generator: Generator, height: int, width: int) -> Texture:
    along, across = _waves(generator, height, width)
    return mix(generator, _sharp(np.sin(np.pi * along * 1.6) * np.sin(np.pi * across * 1.6)), 110)


def dots(generator: Generator, height: int, width: int) -> Texture:
    along, across = _waves(generator, height, width)
    fraction = np.hypot((along * 1.2) % 1 - 0.5, (across * 1.2) % 1 - 0.5)
    return mix(generator, _sharp(generator.uniform(0.25, 0.36) - fraction, 12), 110)


def _sharp(signal: np.ndarray, slope: float = 4) -> np.ndarray:
    return np.clip(signal * slope + 0.5, 0, 1)


Fill = Callable[[Generator, int, int], Texture]
PLAIN: tuple[Fill, ...] = (flat, gradient, clouds, grain, photograph)
TEXTURES: dict[str, Fill] = {fill.__name__: fill for fill in (stripes, checks, dots)}
