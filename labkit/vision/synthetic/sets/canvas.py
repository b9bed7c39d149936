"""A canvas that knows which pixels of each object can be seen, and what pictures share."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator

from labkit.vision.synthetic.drawn import Drawn

SCALE = 2  # drawn this many times larger, then averaged: edges come out smooth
LEAST_SEEN = 0.25  # of an object's area; what shows less has no box
SMALLEST = 3  # pixels of the finished image, the shorter side of a box


@dataclass
class Object:
    """An object on the canvas: its kind, the pixels that show it, its whole area."""

    kind: int
    left: int
    top: int
    seen: np.ndarray
    area: int


@dataclass
class Canvas:
    """An image in the making, `SCALE` times as large as it will be.

    Attributes:
        image: (S, S, 3) float32, light from 0 to 1, RGB.
        objects: those that have a kind, from the back to the front.
    """

    image: np.ndarray
    objects: list[Object] = field(default_factory=list)

    @property
    def side(self) -> int:
        """Pixels of the canvas."""
        return len(self.image)

    def blend(self, colour: np.ndarray, alpha: np.ndarray, left: int, top: int) -> None:
        """Cover a place with a colour (h, w, 3) or (3,), as much as alpha (h, w) says."""
        place, part = self._overlap(alpha, left, top)
        if colour.ndim == 3:
            colour = colour[part]
        cover = alpha[part][..., None]
        self.image[place] += cover * (colour - self.image[place])

    def filter(self, transmission: np.ndarray, left: int, top: int) -> None:
        """Let a share (h, w) or (h, w, 3) of the light of a place through."""
        place, part = self._overlap(transmission, left, top)
        through = transmission[part]
        self.image[place] *= through[..., None] if through.ndim == 2 else through

    def add(self, kind: int, mask: np.ndarray, left: int, top: int, opaque: bool = True) -> None:
        """Note an object that is painted where `mask` (h, w) is true."""
        if opaque:
            self.hide(mask, left, top)
        _, part = self._overlap(mask, left, top)
        x, y = max(left, 0), max(top, 0)
        self.objects.append(Object(kind, x, y, mask[part].copy(), int(np.count_nonzero(mask))))

    def hide(self, mask: np.ndarray, left: int, top: int) -> None:
        """Note that something in front hides the objects so far where `mask` is true."""
        for below in self.objects:
            mine, its = _shared(mask, left, top, below.seen, below.left, below.top)
            below.seen[its] &= ~mask[mine]

    def hidden_by(self, mask: np.ndarray, left: int, top: int) -> float:
        """The largest share that any object would lose of its area."""
        most = 0.0
        for below in self.objects:
            mine, its = _shared(mask, left, top, below.seen, below.left, below.top)
            lost = np.count_nonzero(below.seen[its] & mask[mine])
            before = below.area - np.count_nonzero(below.seen)
            most = max(most, (lost and lost + before) / max(below.area, 1))
        return most

    def finish(self, image: np.ndarray) -> Drawn:
        """The finished image of `size` pixels, and boxes around what can be seen."""
        boxes, kinds = [], []
        for one in self.objects:
            columns, rows = np.flatnonzero(one.seen.any(0)), np.flatnonzero(one.seen.any(1))
            if not len(rows) or np.count_nonzero(one.seen) < LEAST_SEEN * one.area:
                continue
            box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            box = (box + [one.left, one.top] * 2) / SCALE
            if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
                boxes.append(box)
                kinds.append(one.kind)
        pixels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        return Drawn(pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64))

    def _overlap(
        self, patch: np.ndarray, left: int, top: int
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The pixels of the canvas under a patch, and those of the patch over the canvas."""
        mine, its = _shared(patch, left, top, self.image, 0, 0)
        return its, mine


def _shared(
    a: np.ndarray, a_left: int, a_top: int, b: np.ndarray, b_left: int, b_top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What two patches have in common, as slices of each."""
    left, top = max(a_left, b_left), max(a_top, b_top)
    right = max(left, min(a_left + a.shape[1], b_left + b.shape[1]))
    bottom = max(top, min(a_top + a.shape[0], b_top + b.shape[0]))
    return (
        (slice(top - a_top, bottom - a_top), slice(left - a_left, right - a_left)),
        (slice(top - b_top, bottom - b_top), slice(left - b_left, right - b_left)),
    )


def clouds(
    generator: Generator, shape: tuple[int, ...], grain: float, octaves: int = 3
) -> np.ndarray:
    """Smooth noise (h, w) of mean 0 and standard deviation 1, grains of a given size.

    Each octave is half as strong and half as fine as the one before.
    """
    coarse = [int(side / grain) + 3 for side in shape]
    noise: np.ndarray = generator.standard_normal(coarse, dtype=np.float32)
    for octave in range(1, octaves):
        if grain < 2:
            break
        grain /= 2
        noise = cv2.resize(noise, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        noise += generator.standard_normal(noise.shape, dtype=np.float32) / 2**octave
    if grain > 1:
        noise = cv2.resize(noise, None, fx=grain, fy=grain, interpolation=cv2.INTER_CUBIC)
    y, x = ((more - side) // 2 for more, side in zip(noise.shape, shape, strict=True))
    noise = noise[y : y + shape[0], x : x + shape[1]]
    return (noise - noise.mean()) / (noise.std() + np.float32(1e-6))


def coordinates(side: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a square patch, (side, side) float32, from the middle."""
    axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
    return np.broadcast_to(axis, (side, side)), np.broadcast_to(axis[:, None], (side, side))


def turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates in a frame that is turned by an angle in radians."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def wave(generator: Generator, angle: np.ndarray, strength: float, orders: range) -> np.ndarray:
    """A closed wavy line around 0 over the angle; higher orders are weaker."""
    total = np.zeros_like(angle)
    for order in orders:
        size, phase = generator.normal(0, strength / order), generator.uniform(0, 2 * np.pi)
        total += np.float32(size) * np.cos(order * angle + np.float32(phase))
    return total


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between; `low` may be the larger one."""
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def somewhere(generator: Generator, side: int, patch: int, over: float) -> tuple[int, int]:
    """A place for a patch, which may reach over the edge by a share of itself."""
    left, top = generator.uniform(-over * patch, side - (1 - over) * patch, 2)
    return int(left), int(top)


def shrink(image: np.ndarray) -> np.ndarray:
    """The image at its final size."""
    size = len(image) // SCALE
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def sensor(generator: Generator, image: np.ndarray, blur: float, noise: float) -> np.ndarray:
    """What a camera makes of it: a soft lens, and noise that grows with light."""
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    grains = generator.standard_normal(image.shape, dtype=np.float32)
    return image + grains * np.float32(noise) * np.sqrt(image.clip(0.02, 1))
