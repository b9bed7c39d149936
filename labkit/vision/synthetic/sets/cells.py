"""Blood smears under the microscope: red cells, white cells and platelets.

Light falls through stained cells, so everything is drawn as absorbance: by the law of Beer
and Lambert, light that passes a thickness t of a dye of absorbance a leaves as exp(-a t), and
overlapping cells multiply.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator

from labkit.vision.synthetic.drawn import Drawn
from labkit.vision.synthetic.sets.canvas import (
    SCALE,
    Canvas,
    clouds,
    coordinates,
    sensor,
    shrink,
    smoothstep,
    somewhere,
    turned,
    wave,
)

NAMES = ("red cell", "white cell", "platelet")
RED, WHITE, PLATELET = range(3)

# Absorbance of red, green and blue light.
HAEMOGLOBIN = np.array([0.10, 0.52, 0.36], np.float32)
NUCLEUS = np.array([1.05, 1.75, 0.62], np.float32)
CYTOPLASM = np.array([0.28, 0.36, 0.12], np.float32)
GRANULES = np.array([0.55, 1.05, 0.42], np.float32)


def draw(generator: Generator, size: int = 320) -> Drawn:
    """One field of view.

    Args:
        generator: decides everything.
        size: pixels, height and width.

    Returns:
        The image, with a box around every cell of which a quarter or more is in view.
    """
    side = size * SCALE
    canvas = Canvas(_light(generator, side))
    stain = _Stain(generator)
    radius = side * generator.uniform(0.047, 0.075)  # of a usual red cell
    crowd = generator.uniform(0.35, 1.0)
    taken = np.zeros((side, side), np.uint8)  # 1 red, 2 white
    for _ in range(generator.choice([0, 1, 1, 1, 2, 2, 3])):
        _put_white(generator, canvas, stain, taken, radius * generator.uniform(1.35, 1.95))
    wanted = int(crowd * (side / radius) ** 2 / 4.6)
    for _ in range(wanted):
        _put_red(
            generator,
            canvas,
            stain,
            taken,
            radius * float(np.clip(generator.normal(1, 0.07), 0.8, 1.2)),
        )
    for _ in range(generator.integers(1, 7)):
        _put_platelets(generator, canvas, stain, radius)
    return canvas.finish(_photograph(generator, canvas.image))


class _Stain:
    """How this slide took its dyes: every laboratory's is a little different."""

    def __init__(self, generator: Generator) -> None:
        strength = np.float32(generator.uniform(0.75, 1.35))
        shift = generator.normal(1, 0.10, (4, 3)).astype(np.float32).clip(0.75, 1.3)
        dyes = np.stack([HAEMOGLOBIN, NUCLEUS, CYTOPLASM, GRANULES]) * shift * strength
        self.haemoglobin, self.nucleus, self.cytoplasm, self.granules = dyes
        self.pallor = generator.uniform(0.7, 1.1)  # how far the middle of red cells is paler


def _light(generator: Generator, side: int) -> np.ndarray:
    """The lamp's light through glass and plasma: pale, a little pink, uneven."""
    warm = generator.uniform(-0.03, 0.04)
    colour = np.array([0.93, 0.875 - warm * 0.5, 0.875 - warm * 1.5], np.float32)
    colour *= np.float32(generator.uniform(0.92, 1.02))
    x, y = coordinates(side)
    direction = generator.uniform(0, 2 * np.pi)
    slope = turned(x, y, direction)[0] / side * np.float32(generator.uniform(0, 0.12))
    far = (x - generator.normal(0, side * 0.1)) ** 2 + (y - generator.normal(0, side * 0.1)) ** 2
    edge = far / side**2 * np.float32(generator.uniform(0, 0.22))
    plasma = clouds(generator, (side, side), side / 5, 4) * np.float32(0.012)
    light = (1 + slope - edge + plasma)[..., None] * colour
    light[..., 1] += clouds(generator, (side, side), side / 3, 2) * np.float32(0.006)
    return light.astype(np.float32)


def _put_red(
    generator: Generator, canvas: Canvas, stain: _Stain, taken: np.ndarray, radius: float
) -> None:
    thickness, mask = red_cell(generator, radius, stain.pallor)
    for _ in range(12):
        left, top = somewhere(generator, canvas.side, len(mask), 0.4)
        under = _under(taken, mask, left, top)
        if np.count_nonzero(under == 2) == 0 and np.mean(under == 1) < generator.choice(
            [0.02, 0.08, 0.3], p=[0.5, 0.3, 0.2]
        ):
            break
    else:
        return
    dye = stain.haemoglobin * np.float32(generator.uniform(0.85, 1.15))
    canvas.filter(np.exp(-thickness[..., None] * dye), left, top)
    canvas.add(RED, mask, left, top, opaque=False)
    _take(taken, mask, left, top, 1)


def red_cell(generator: Generator, radius: float, pallor: float) -> tuple[np.ndarray, np.ndarray]:
    """The thickness of a red cell (h, w), 1 where it is thickest, and its mask.

    Its profile is that of Evans & Fung (1972): a disc thinner in the middle.
    """
    side = int(radius * 2.9) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, np.pi))
    squash = np.float32(1 + abs(generator.normal(0, 0.09)))
    x, y = x * squash, y / squash
    angle = np.arctan2(y, x)
    outline = radius * (1 + wave(generator, angle, 0.035, range(2, 6)))
    if generator.random() < 0.06:  # a burr cell
        outline *= 1 + np.float32(0.05) * np.cos(generator.integers(9, 14) * angle)
    off = generator.normal(0, 0.05 * radius, 2)
    r = np.hypot(x, y) / outline
    inner = (np.hypot(x - off[0], y - off[1]) / outline).clip(0, 1)
    rim = np.sqrt((1 - r.clip(0, 1) ** 2).clip(0, 1))
    hollow = 0.207 + 2.003 * inner**2 - 1.123 * inner**4
    solid = np.float32(0.75)
    if generator.random() < 0.12:
        pallor *= generator.uniform(0, 0.4)  # a spherocyte has no pale middle
    thickness = rim**0.55 * (pallor * hollow * 1.05 + (1 - pallor) * solid)
    edge = np.exp(-(((r - 0.95) / 0.05) ** 2)) * np.float32(generator.uniform(0.05, 0.25))
    inside = smoothstep(1 + 1.2 / radius, 1 - 1.2 / radius, r)
    thickness = (thickness + edge) * inside
    thickness *= 1 + clouds(generator, (side, side), radius / 2, 1) * np.float32(0.04)
    return thickness.astype(np.float32), r <= 1


def _put_white(
    generator: Generator, canvas: Canvas, stain: _Stain, taken: np.ndarray, radius: float
) -> None:
    kind = generator.choice(
        ["neutrophil", "lymphocyte", "monocyte", "eosinophil"], p=[0.5, 0.25, 0.15, 0.1]
    )
    if kind == "lymphocyte":
        radius *= 0.8
    absorbance, mask = white_cell(generator, radius, str(kind), stain)
    for _ in range(20):
        left, top = somewhere(generator, canvas.side, len(mask), 0.25)
        if not _under(taken, mask, left, top).any():
            break
    else:
        return
    canvas.filter(np.exp(-absorbance), left, top)
    canvas.add(WHITE, mask, left, top, opaque=False)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    _take(taken, near, left, top, 2)


def white_cell(
    generator: Generator, radius: float, kind: str, stain: _Stain
) -> tuple[np.ndarray, np.ndarray]:
    """The absorbance (h, w, 3) of a white cell, and its mask."""
    side = int(radius * 2.7) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, 2 * np.pi))
    angle = np.arctan2(y, x)
    r = np.hypot(x, y) / (radius * (1 + wave(generator, angle, 0.05, range(2, 7))))
    body = smoothstep(1 + 2 / radius, 1 - 3 / radius, r)
    foam = 1 + clouds(generator, (side, side), radius / 5, 3) * np.float32(0.12)
    amount = body * foam * (0.65 + 0.35 * r.clip(0, 1))
    absorbance = amount[..., None] * stain.cytoplasm
    if kind in ("neutrophil", "eosinophil"):
        grains = clouds(generator, (side, side), max(2.5, radius / 14), 1)
        dots = smoothstep(0.7, 1.6, grains) * body
        dye = stain.granules * np.float32(0.35)
        if kind == "eosinophil":
            dye, dots = np.array([0.08, 0.75, 0.75], np.float32), dots * 1.2
        absorbance += dots[..., None] * dye
    core = _nucleus(generator, x, y, radius, kind)
    chromatin = 1 + clouds(generator, (side, side), radius / 6, 3) * np.float32(0.13)
    rim = np.exp(-(((core - 0.5) / 0.25) ** 2)) * np.float32(0.15)
    dense = (core * chromatin + rim * core) * np.float32(generator.uniform(0.8, 1.15))
    return (absorbance * (1 - 0.5 * core[..., None]) + dense[..., None] * stain.nucleus), r <= 1


def _nucleus(
    generator: Generator, x: np.ndarray, y: np.ndarray, radius: float, kind: str
) -> np.ndarray:
    """Where the nucleus is, from 0 to 1: lobes on a thread, a ball, or a kidney."""
    field_ = np.zeros_like(x)
    if kind == "lymphocyte":
        blobs = [(generator.normal(0, 0.06), generator.normal(0, 0.06), 0.80)]
    elif kind == "monocyte":
        turns = np.linspace(-1.25, 1.25, 7) * generator.uniform(0.7, 1.1)
        blobs = [(0.42 * np.cos(t) - 0.15, 0.42 * np.sin(t), 0.40) for t in turns]
    else:
        lobes = 2 if kind == "eosinophil" else int(generator.integers(3, 6))
        start, step = generator.uniform(0, 6.28), 4.4 / lobes
        blobs = [
            (
                0.43 * np.cos(start + i * step) + generator.normal(0, 0.05),
                0.43 * np.sin(start + i * step) + generator.normal(0, 0.05),
                generator.uniform(0.27, 0.35) * (1.25 if lobes == 2 else 1),
            )
            for i in range(lobes)
        ]
        links = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, 0.13) for a, b in pairwise(blobs)]
        blobs += links
    for bx, by, size in blobs:
        far = ((x / radius - bx) ** 2 + (y / radius - by) ** 2) / size**2
        field_ += np.exp(-far * np.float32(1.9))
    ragged = clouds(generator, x.shape, radius / 3, 2) * np.float32(0.02)
    return smoothstep(0.12, 0.20, field_ + ragged * (field_ > 0.05))


def _put_platelets(generator: Generator, canvas: Canvas, stain: _Stain, radius: float) -> None:
    """One platelet, or a few that stick together."""
    centre = generator.uniform(0.02, 0.98, 2) * canvas.side
    many = int(generator.choice([1, 1, 1, 1, 2, 3, 5]))
    for _ in range(many):
        size = radius * generator.uniform(0.20, 0.38)
        absorbance, mask = platelet(generator, size, stain)
        spot = centre + (generator.normal(0, size * 2.2, 2) if many > 1 else 0)
        left, top = (spot - len(mask) / 2).astype(int)
        canvas.filter(np.exp(-absorbance), left, top)
        canvas.add(PLATELET, mask, left, top, opaque=False)


def platelet(generator: Generator, radius: float, stain: _Stain) -> tuple[np.ndarray, np.ndarray]:
    """The absorbance (h, w, 3) of a platelet, a ragged crumb full of granules, and its mask."""
    side = int(radius * 3.6) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, np.pi))
    squash = np.float32(1 + abs(generator.normal(0, 0.18)))
    angle = np.arctan2(y, x)
    outline = radius * (1 + wave(generator, angle, 0.22, range(2, 8)))
    r = np.hypot(x * squash, y / squash) / outline
    body = smoothstep(1.12, 0.72, r)
    grains = smoothstep(-0.5, 1.4, clouds(generator, (side, side), max(2.2, radius / 3), 1))
    dye = stain.granules * np.float32(generator.uniform(0.7, 1.1))
    amount = body * (0.45 + 0.75 * grains * smoothstep(1.1, 0.3, r))
    return amount[..., None] * dye, r <= 1


def _photograph(generator: Generator, light: np.ndarray) -> np.ndarray:
    image = shrink(light)
    _dust(generator, image)
    image = sensor(generator, image, generator.uniform(0.3, 1.1), generator.uniform(0.006, 0.02))
    balance = generator.normal(1, 0.02, 3).astype(np.float32)
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * np.float32(generator.uniform(0.85, 1.35))
    return image * balance * np.float32(generator.uniform(0.92, 1.04))


def _dust(generator: Generator, image: np.ndarray) -> None:
    """Specks on the glass, far out of focus."""
    size = len(image)
    for _ in range(generator.poisson(1.2)):
        speck: np.ndarray = np.zeros((size, size), np.float32)
        centre = tuple(int(v) for v in generator.integers(0, size, 2))
        cv2.circle(speck, centre, int(generator.integers(2, 7)), 1.0, -1)
        speck = cv2.GaussianBlur(speck, (0, 0), float(generator.uniform(3, 7)))
        image *= 1 - speck[..., None] * np.float32(generator.uniform(0.1, 0.35))


def _under(taken: np.ndarray, mask: np.ndarray, left: int, top: int) -> np.ndarray:
    """What is taken below a mask, as a flat array."""
    rows = slice(max(top, 0), max(top + mask.shape[0], 0))
    columns = slice(max(left, 0), max(left + mask.shape[1], 0))
    below = taken[rows, columns]
    y, x = max(-top, 0), max(-left, 0)
    return below[mask[y : y + below.shape[0], x : x + below.shape[1]]]


def _take(taken: np.ndarray, mask: np.ndarray, left: int, top: int, mark: int) -> None:
    rows = slice(max(top, 0), max(top + mask.shape[0], 0))
    columns = slice(max(left, 0), max(left + mask.shape[1], 0))
    below = taken[rows, columns]
    y, x = max(-top, 0), max(-left, 0)
    below[mask[y : y + below.shape[0], x : x + below.shape[1]]] = mark
