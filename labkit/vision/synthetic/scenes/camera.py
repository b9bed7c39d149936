"""What a camera does to a scene: light, lens, motion, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from labkit.vision.synthetic.scenes import fills


def light(generator: Generator, image: np.ndarray) -> np.ndarray:
    """Uneven light and a tint, on (H, W, 3) float32 in place."""
    height, width = image.shape[:2]
    if generator.random() < 0.7:
        shade = fills.noise(generator, height, width, generator.uniform(1, 4), 1)
        image *= (1 - generator.uniform(0, 0.6) * shade)[..., None]
    image *= generator.uniform(0.85, 1.15, 3).astype(np.float32) * np.float32(
        generator.uniform(0.7, 1.25)
    )
    image += np.float32(generator.uniform(-15, 15))
    return image


def photograph(generator: Generator, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 to uint8, as a camera of some quality would have it."""
    size = len(image)
    if generator.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), size / 320 * generator.uniform(0.4, 1.4))
    elif generator.random() < 0.15:
        image = _moved(generator, image)
    if generator.random() < 0.6:
        spread = generator.uniform(2, 16)
        grains = np.empty(image.shape, np.float32)
        cv2.setRNGSeed(int(generator.integers(2**31)))  # several times as fast as numpy's
        image = image + cv2.randn(grains, np.zeros(3), np.full(3, spread))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    if generator.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(30, 80))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)
    return pixels


def _moved(generator: Generator, image: np.ndarray) -> np.ndarray:
    length = max(3, round(len(image) / 320 * generator.uniform(3, 7)))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(
        (length / 2 - 0.5, length / 2 - 0.5), generator.uniform(0, 180), 1
    )
    turned = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, turned / turned.sum())
