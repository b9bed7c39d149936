"""Small metal parts on a conveyor belt, seen from above: nuts, bolts, washers and gears.

Each part is a landscape of heights. Its slopes say which part of the surroundings a polished
pixel mirrors, and the surroundings are a dark hall with lamps: that is what metal looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
)

NAMES = ("nut", "bolt", "washer", "gear")
MOST_HIDDEN = 0.45  # of a part below another

METALS = {  # colour of what it mirrors, how rough it is
    "steel": ((0.80, 0.82, 0.85), 0.30),
    "zinc": ((0.78, 0.84, 0.92), 0.22),
    "brass": ((0.98, 0.80, 0.42), 0.25),
    "copper": ((0.95, 0.62, 0.45), 0.30),
    "black": ((0.30, 0.31, 0.34), 0.45),
}
SHARES = (0.42, 0.24, 0.14, 0.06, 0.14)


@dataclass(frozen=True)
class Hall:
    """Where light comes from.

    Attributes:
        sun: x and y of the brightest lamp, as seen from the belt; length below 1.
        width: how large that lamp looks.
        dim: light from everywhere.
        shadow: how far and how dark shadows fall.
    """

    sun: tuple[float, float]
    width: float
    dim: float
    shadow: tuple[float, float]


def draw(generator: Generator, size: int = 320) -> Drawn:
    """One look at the belt.

    Args:
        generator: decides everything.
        size: pixels, height and width.

    Returns:
        The image, with a box around what can be seen of each part.
    """
    side = size * SCALE
    turn = generator.uniform(0, 2 * np.pi)
    tilt = generator.uniform(0.45, 0.8)
    hall = Hall(
        (tilt * np.cos(turn), tilt * np.sin(turn)),
        generator.uniform(0.22, 0.5),
        generator.uniform(0.22, 0.42),
        (generator.uniform(0.3, 0.9), generator.uniform(0.35, 0.75)),
    )
    along = generator.normal(0, 0.12) + generator.choice([0, np.pi / 2])  # the belt runs so
    canvas = Canvas(_belt(generator, side, along))
    zoom = side * generator.uniform(0.105, 0.17)
    for _ in range(generator.integers(5, 17)):
        _put(generator, canvas, hall, zoom)
    x, y = coordinates(side)
    slope = turned(x, y, turn)[0] / side * np.float32(generator.uniform(0, 0.35))
    canvas.image *= (1 + slope)[..., None]
    return canvas.finish(_photograph(generator, canvas.image, along))


def _put(generator: Generator, canvas: Canvas, hall: Hall, zoom: float) -> None:
    kind = int(generator.integers(len(NAMES)))
    for _ in range(10):
        height, mask = PARTS[kind](generator, zoom * generator.uniform(0.8, 1.25))
        left, top = somewhere(generator, canvas.side, len(mask), 0.25)
        if canvas.hidden_by(mask, left, top) <= generator.choice([0, 0, MOST_HIDDEN]):
            break
    else:
        return
    inside = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    _shadow(canvas, hall, inside, float(height.max()), left, top)
    canvas.blend(_metal(generator, hall, height, mask), inside, left, top)
    canvas.add(kind, mask, left, top)


def _shadow(
    canvas: Canvas, hall: Hall, inside: np.ndarray, high: float, left: int, top: int
) -> None:
    reach, dark = hall.shadow
    margin = int(high * reach * 2) + 12
    wide = cv2.copyMakeBorder(inside, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    touching = cv2.GaussianBlur(wide, (0, 0), 2.5)
    thrown = cv2.GaussianBlur(wide, (0, 0), 1.5 + high * 0.22)
    x, y = (-round(high * reach * one) for one in hall.sun)
    canvas.filter(1 - touching * np.float32(dark * 0.6), left - margin, top - margin)
    canvas.filter(1 - thrown * np.float32(dark * 0.8), left - margin + x, top - margin + y)


def _metal(generator: Generator, hall: Hall, height: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The colour of a landscape of metal, (h, w, 3)."""
    name = generator.choice(list(METALS), p=SHARES)
    colour, rough = METALS[name]
    scratches = _brushed(generator, len(mask))
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    dents = clouds(generator, mask.shape, len(mask) / 5, 3) * np.float32(0.03)
    dx, dy = dx + dents + scratches * np.float32(0.03), dy + dents.T
    up = 1 / np.sqrt(1 + dx * dx + dy * dy)
    # The mirrored direction, of a camera far above: r = 2 (n·v) n - v.
    mx, my, mz = -2 * up * up * dx, -2 * up * up * dy, 2 * up * up - 1
    toward = (mx - hall.sun[0]) ** 2 + (my - hall.sun[1]) ** 2
    lamp = np.exp(-toward / np.float32((hall.width + rough * 0.4) ** 2)) * (mz > -0.2)
    across = mx * hall.sun[1] - my * hall.sun[0]
    strips = np.exp(-(((across - 0.35) / (0.1 + rough * 0.4)) ** 2)) * np.float32(0.35)
    sky = np.float32(hall.dim) * (0.55 + 0.65 * mz.clip(-0.3, 1))
    light = sky + lamp * np.float32(0.85) + strips * (mz > 0)
    light *= 1 + scratches * np.float32(0.05)
    valley = height - cv2.GaussianBlur(height, (0, 0), max(2.0, len(mask) / 40))
    light *= (1 + valley * np.float32(0.05)).clip(0.45, 1.2)
    picture = light[..., None] * np.array(colour, np.float32)
    picture += (lamp**4)[..., None] * np.float32(0.25 * (1 - rough))
    if name in ("steel", "copper") and generator.random() < 0.3:
        _rust(generator, picture)
    return picture


def _brushed(generator: Generator, side: int) -> np.ndarray:
    """Fine scratches all in one direction, (side, side), of standard deviation 1."""
    grains = generator.standard_normal((side, side), dtype=np.float32)
    streaks = cv2.blur(grains, (max(5, side // 5), 1))
    turn = cv2.getRotationMatrix2D(
        ((side - 1) / 2, (side - 1) / 2), float(generator.uniform(0, 180)), 1.5
    )
    streaks = cv2.warpAffine(streaks, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
    return streaks / (streaks.std() + 1e-6)


def _rust(generator: Generator, picture: np.ndarray) -> None:
    side = len(picture)
    spots = smoothstep(0.9, 1.9, clouds(generator, (side, side), side / 6, 4))[..., None]
    brown = np.array([0.34, 0.17, 0.08], np.float32)
    picture += spots * np.float32(0.8) * (brown - picture)


def nut(generator: Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A hexagon nut of about `size` pixels: heights (h, w) in pixels, and mask."""
    radius = size * 0.5
    side = int(size * 1.3) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, np.pi))
    r = np.hypot(x, y)
    flat = _hexagon(x, y) / (radius * np.float32(np.sqrt(3) / 2))
    hole = radius * generator.uniform(0.50, 0.58)
    mask = (flat <= 1) & (r >= hole * 0.88)
    high = radius * np.float32(0.75)
    height = np.full_like(r, high)
    height -= np.maximum(r - radius * 0.86, 0) * np.float32(0.65)  # chamfered corners
    height -= np.maximum(hole * 1.14 - r, 0) * np.float32(1.0)  # and hole
    thread = np.maximum(hole - r, 0)  # the far wall of the hole, and its thread
    height -= thread * 2.2 + np.sin(thread * np.float32(1.9)) * np.float32(1.2) * (thread > 0)
    return np.where(mask, height, 0).astype(np.float32), mask


def _hexagon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The distance from the middle in terms of the nearest flat side."""
    sides = [abs(x * np.float32(np.cos(a)) + y * np.float32(np.sin(a))) for a in _SIXTHS]
    return np.maximum.reduce(sides)


_SIXTHS = (0.0, np.pi / 3, 2 * np.pi / 3)


def washer(generator: Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A flat or spring washer of about `size` pixels: heights (h, w) in pixels, and mask."""
    radius = size * generator.uniform(0.4, 0.58)
    side = int(radius * 2.4) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, 2 * np.pi))
    r = np.hypot(x, y)
    hole = radius * generator.uniform(0.42, 0.66)
    mask = (r <= radius) & (r >= hole)
    high = np.float32(size * 0.07)
    bevel = np.float32(max(2.0, radius * 0.05))
    height = high - np.maximum(r - radius + bevel, 0) * 0.7 - np.maximum(hole + bevel - r, 0) * 0.7
    if generator.random() < 0.3:  # a spring washer is cut through and rises
        mask &= ~((abs(y - 0.25 * (x - radius * 0.7)) < radius * 0.045) & (x > 0))
        height = height + np.arctan2(y, x) * np.float32(size * 0.02)
    return np.where(mask, height, 0).astype(np.float32), mask


def gear(generator: Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A spur gear of about 1.6 `size` pixels: heights (h, w) in pixels, and mask."""
    radius = size * generator.uniform(0.6, 0.98)
    side = int(radius * 2.3) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, np.pi))
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    teeth = int(generator.integers(12, 25))
    tooth = radius * min(0.2, 3.0 / teeth)
    wave = np.cos(angle * teeth)
    top = smoothstep(-0.45, 0.45, wave + (radius - tooth / 2 - r) / tooth * 0.7)
    outer = radius - tooth + tooth * top
    bore = radius * generator.uniform(0.14, 0.24)
    mask = (r <= outer) & (r >= bore)
    key = (abs(y) < bore * 0.28) & (x > 0) & (x < bore * 1.35)
    mask &= ~key
    high = np.float32(size * 0.16)
    height = np.full_like(r, high)
    rim, hub = radius - tooth * 2.1, bore * 1.9
    web = smoothstep(hub - 2, hub + 2, r) * smoothstep(rim + 2, rim - 2, r)
    height -= web * np.float32(size * 0.07)
    holes = int(generator.choice([0, 0, 4, 5, 6]))
    ring, wide = (rim + hub) / 2, (rim - hub) * 0.32
    if holes and wide > 3:
        for turn in np.arange(holes) * 2 * np.pi / holes:
            far = np.hypot(x - ring * np.cos(turn), y - ring * np.sin(turn))
            mask &= far >= wide
            height -= np.maximum(wide + 3 - far, 0) * np.float32(0.5)
    height -= np.maximum(r - outer + 2.5, 0) * 0.5 + np.maximum(bore + 3 - r, 0) * 0.5
    turned_on_a_lathe = np.sin(r * np.float32(2.4)) * np.float32(0.05)
    return np.where(mask, height + turned_on_a_lathe, 0).astype(np.float32), mask


def bolt(generator: Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A hexagon bolt that lies on its side, head to the left before it is turned.

    About 2 `size` pixels long: heights (h, w) in pixels, and mask.
    """
    thick = size * generator.uniform(0.17, 0.22)  # radius of the shank
    length = size * generator.uniform(1.1, 2.0)
    head, wide = thick * generator.uniform(1.2, 1.6), thick * 1.85
    side = int(np.hypot(length + head, 2 * wide) * 1.08) | 1
    x, y = turned(*coordinates(side), generator.uniform(0, 2 * np.pi))
    x = x + (length + head) / 2
    threaded = length * generator.uniform(0.45, 1.0)
    pitch = max(4.2, thick * generator.uniform(0.42, 0.6))
    on = smoothstep(head + length - threaded - 2, head + length - threaded + 2, x)
    phase = (x + y * np.float32(0.12)) * np.float32(2 * np.pi / pitch)
    groove = np.float32(thick * 0.15) * (0.5 - 0.5 * np.cos(phase)) * on
    tip = np.maximum(x - (head + length - thick * 0.35), 0) * np.float32(0.9)
    shank = np.float32(thick) - groove - tip
    body = np.sqrt(np.maximum(shank**2 - y**2, 0)) + wide * 0.85
    in_shank = (abs(y) <= shank) & (x >= head * 0.8) & (x <= head + length)
    corner = np.maximum(abs(y) - wide * 0.86, 0) * 0.5
    in_head = (abs(y) <= wide) & (x >= corner) & (x <= head)
    lean = smoothstep(0.48, 0.56, abs(y) / wide) * (abs(y) - wide * 0.52)  # the sides lean away
    block = wide * 1.5 - lean * np.float32(1.3)
    block -= np.maximum(head * 0.18 + corner - x, 0) * 0.9
    mask = in_shank | in_head
    return np.where(in_head, block, np.where(in_shank, body, 0)).astype(np.float32), mask


PARTS: tuple[Callable[[Generator, float], tuple[np.ndarray, np.ndarray]], ...] = (
    nut,
    bolt,
    washer,
    gear,
)


def _belt(generator: Generator, side: int, along: float) -> np.ndarray:
    """A belt of rubber or cloth, (S, S, 3), that runs in the direction `along`."""
    base = np.array(
        [(0.17, 0.18, 0.18), (0.13, 0.22, 0.19), (0.16, 0.20, 0.27), (0.32, 0.31, 0.29)][
            generator.integers(4)
        ],
        np.float32,
    ) * np.float32(generator.uniform(0.8, 1.3))
    x, y = turned(*coordinates(side), along)
    pattern = generator.choice(["ribs", "diamonds", "weave", "plain"])
    step = np.float32(2 * np.pi / (side * generator.uniform(0.014, 0.03)))
    if pattern == "ribs":
        relief = np.sin(y * step)
    elif pattern == "diamonds":
        relief = np.maximum(np.sin((x + y) * step * 0.5), np.sin((x - y) * step * 0.5))
    elif pattern == "weave":
        relief = np.sin(x * step) * np.sin(y * step)
    else:
        relief = np.zeros_like(x)
    light = 1 + relief * np.float32(generator.uniform(0.04, 0.13))
    light += clouds(generator, (side, side), side / 4, 5) * np.float32(0.045)
    light += generator.standard_normal((side, side), dtype=np.float32) * np.float32(0.045)
    light += _wear(generator, side, along)
    belt = light[..., None] * base
    oil = smoothstep(1.2, 2.2, clouds(generator, (side, side), side / 5, 4))
    belt *= 1 - oil[..., None] * np.float32(generator.uniform(0, 0.5))
    if generator.random() < 0.35:  # the belt's seam
        where = generator.uniform(-0.4, 0.4) * side
        seam = np.exp(-(((x - where) / 3) ** 2)) - np.exp(-(((x - where - 6) / 3) ** 2))
        belt *= 1 - seam[..., None] * np.float32(0.4)
    if generator.random() < 0.4:
        _rail(generator, belt, y, side)
    return belt.clip(0.02, 1)


def _wear(generator: Generator, side: int, along: float) -> np.ndarray:
    """Scuffs along the way the belt runs."""
    scuffs = np.zeros((side, side), np.float32)
    for _ in range(generator.integers(10, 45)):
        x, y = generator.uniform(0, side, 2)
        turn, length = along + generator.normal(0, 0.12), generator.exponential(side * 0.12)
        end = (int(x + length * np.cos(turn)), int(y + length * np.sin(turn)))
        strength = float(generator.normal(0.0, 0.14))
        cv2.line(
            scuffs, (int(x), int(y)), end, strength, int(generator.integers(1, 3)), cv2.LINE_AA
        )
    return cv2.GaussianBlur(scuffs, (0, 0), 0.8)


def _rail(generator: Generator, belt: np.ndarray, y: np.ndarray, side: int) -> None:
    """The metal edge of the conveyor, on one side of the image."""
    edge = side * generator.uniform(0.38, 0.46)
    far = y - edge if generator.random() < 0.5 else -y - edge
    rail = smoothstep(0, 3, far)[..., None]
    sheen = 0.45 + 0.25 * np.exp(-(((far - side * 0.05) / (side * 0.025)) ** 2))
    sheen += generator.standard_normal((side, 1), dtype=np.float32) * np.float32(0.015)
    metal = sheen[..., None] * np.array([0.93, 0.95, 1.0], np.float32)
    dark = np.exp(-((far.clip(None, 0) / (side * 0.012)) ** 2))[..., None] * (far < 0)[..., None]
    belt *= 1 - dark * np.float32(0.6)
    belt += rail * (metal - belt)


def _photograph(generator: Generator, light: np.ndarray, along: float) -> np.ndarray:
    length = generator.choice([0.0, generator.uniform(1, 3.5)], p=[0.4, 0.6]) * SCALE
    if length > 1:  # the belt moves while the shutter is open
        light = cv2.filter2D(light, -1, _streak(length, along), borderType=cv2.BORDER_REFLECT)
    image = shrink(light)
    image = image * np.float32(generator.uniform(0.9, 1.35))
    image = image / (1 + np.maximum(image - 0.75, 0))  # highlights that do not clip hard
    image = sensor(generator, image, generator.uniform(0.2, 0.7), generator.uniform(0.008, 0.03))
    return image * generator.normal(1, 0.03, 3).astype(np.float32)


def _streak(length: float, along: float) -> np.ndarray:
    side = int(length) * 2 + 3
    kernel: np.ndarray = np.zeros((side * 4, side * 4), np.float32)
    middle = np.array([side * 2, side * 2])
    step = np.array([np.cos(along), np.sin(along)]) * length * 2
    start, end = (middle - step).astype(int), (middle + step).astype(int)
    cv2.line(kernel, tuple(map(int, start)), tuple(map(int, end)), 1.0, 4)
    kernel = cv2.resize(kernel, (side, side), interpolation=cv2.INTER_AREA)
    return kernel / kernel.sum()
