"""Fruit on the tree: apples, oranges, lemons and pears among leaves, in dappled light.

Fruits are round bodies given by their outline; light falls on their slopes. The crown is
built from the back to the front: far leaves out of focus, branches, fruits and leaves mixed,
and patches of sun over it all.
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

NAMES = ("apple", "orange", "lemon", "pear")
MOST_HIDDEN = 0.5  # of a fruit behind others and leaves, as far as we can help it

SKY = np.array([0.72, 0.84, 0.98], np.float32)
SUN = np.array([1.0, 0.96, 0.84], np.float32)
SHADE = np.array([0.42, 0.50, 0.62], np.float32)  # what light the sky sends


@dataclass(frozen=True)
class Body:
    """A round body on a square patch.

    Attributes:
        mask: (h, w) where it is.
        rise: (h, w) 1 in the middle, 0 at the edge, as a sphere's.
        normal: (h, w, 3) x, y, z of length 1; y points down, z to the viewer.
        x, y: (h, w) in the body's own frame, 1 at its rim; the stem is up, at y = -1.
    """

    mask: np.ndarray
    rise: np.ndarray
    normal: np.ndarray
    x: np.ndarray
    y: np.ndarray


def draw(generator: Generator, size: int = 320) -> Drawn:
    """One look into a tree.

    Args:
        generator: decides everything.
        size: pixels, height and width.

    Returns:
        The image, with a box around what can be seen of each fruit of which a quarter or more
        can be seen.
    """
    side = size * SCALE
    sun = _unit(generator.uniform(-0.8, 0.8), generator.uniform(-1.1, -0.3), 0.75)
    canvas = Canvas(_far(generator, side))
    green = _green(generator)
    zoom = side * generator.uniform(0.085, 0.15)  # of a usual fruit's radius
    for _ in range(generator.integers(2, 5)):
        _branch(generator, canvas, sun)
    for _ in range(generator.integers(25, 60)):
        _put_leaf(generator, canvas, sun, green * generator.uniform(0.35, 0.75), zoom, 1.0)
    season = generator.dirichlet(np.full(len(NAMES), 0.7)) * 0.7 + 0.3 / len(NAMES)
    for _ in range(generator.integers(3, 13)):
        _put_fruit(generator, canvas, sun, zoom, int(generator.choice(len(NAMES), p=season)))
        for _ in range(generator.integers(1, 7)):
            _put_leaf(generator, canvas, sun, green, zoom, MOST_HIDDEN)
    image = canvas.image * _dapple(generator, side)
    return canvas.finish(_photograph(generator, image))


def _unit(*vector: float) -> np.ndarray:
    array = np.array(vector, np.float32)
    return array / np.linalg.norm(array)


def _green(generator: Generator) -> np.ndarray:
    """This tree's leaves: from blue-green to yellow-green."""
    warm = generator.uniform(0, 1)
    return np.array([0.16 + 0.22 * warm, 0.38 + 0.10 * warm, 0.13 - 0.04 * warm], np.float32)


# --- fruit


def _put_fruit(
    generator: Generator, canvas: Canvas, sun: np.ndarray, zoom: float, kind: int
) -> None:
    size = zoom * generator.uniform(0.75, 1.25)
    shape, skin, gloss = FRUITS[kind](generator, size)
    for _ in range(10):
        left, top = somewhere(generator, canvas.side, len(skin), 0.3)
        if canvas.hidden_by(shape.mask, left, top) <= MOST_HIDDEN:
            break
    else:
        return
    alpha = cv2.GaussianBlur(shape.mask.astype(np.float32), (0, 0), 0.9)
    shade = cv2.GaussianBlur(cv2.copyMakeBorder(alpha, 40, 40, 40, 40, 0), (0, 0), size * 0.15)
    canvas.filter(1 - shade * np.float32(0.55), left - 40, top - 40 + int(size * 0.2))
    canvas.blend(_lit(shape, skin, gloss, sun), alpha, left, top)
    canvas.add(kind, shape.mask, left, top)
    if kind in (0, 3):
        _stem(generator, canvas, shape, left, top, size)


def _lit(body: Body, skin: np.ndarray, gloss: float, sun: np.ndarray) -> np.ndarray:
    """A skin (h, w, 3) in the light of sun and sky, and of the leaves below."""
    facing = (body.normal @ sun).clip(-0.2, 1)
    direct = smoothstep(-0.2, 1.0, facing)[..., None] * SUN
    above = (0.5 - 0.5 * body.normal[..., 1:2]) * SHADE
    below = (0.5 + 0.5 * body.normal[..., 1:2]) * np.array([0.16, 0.22, 0.08], np.float32)
    rim = 1 - 0.55 * (1 - body.normal[..., 2:3]).clip(0, 1) ** 2
    picture = skin * (direct * 0.95 + above * 0.55 + below) * rim
    half = sun + np.array([0, 0, 1], np.float32)
    spark = (body.normal @ (half / np.linalg.norm(half))).clip(0, 1)
    shine = spark ** np.float32(12 + 70 * gloss) * np.float32(0.15 + 0.45 * gloss)
    return picture + shine[..., None] * SUN


def body(
    generator: Generator,
    outline: Callable[[np.ndarray], np.ndarray],
    size: float,
    turn: float,
    bumps: float = 0.0,
    dimple: tuple[float, float, float] | None = None,
) -> Body:
    """A round body with an outline.

    Args:
        generator: for its bumps.
        outline: distance of the rim from the middle, 1 on average, for angles from the stem.
        size: its mean radius in pixels.
        turn: how far it hangs from upright, in radians.
        bumps: how rough its skin is.
        dimple: x, y and width of the pit around the stem.
    """
    x, y = turned(*coordinates(int(size * 3.2) | 1), turn)
    x, y = x / np.float32(size), y / np.float32(size)
    far = np.hypot(x, y) / outline(np.arctan2(x, -y)).astype(np.float32)
    inside = far <= 1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    part = slice(rows[0] - 2, rows[-1] + 3), slice(columns[0] - 2, columns[-1] + 3)
    x, y, far, mask = x[part], y[part], far[part], inside[part]
    rise = np.sqrt((1 - far.clip(0, 1) ** 2).clip(1e-4, 1))
    height = rise * np.float32(size)
    if dimple:
        px, py, wide = dimple
        pit = np.exp(-((x - px) ** 2 + ((y - py) * 1.6) ** 2) / np.float32(wide**2))
        height = height - pit * np.float32(size * 0.42)
    if bumps:
        height = height + clouds(generator, mask.shape, max(2.5, size / 14), 2) * np.float32(
            bumps * max(2.5, size / 14)
        )
    height = height.astype(np.float32)
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    normal = np.dstack([-dx, -dy, np.ones_like(dx)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return Body(mask, rise, normal, x, y)


def apple(generator: Generator, size: float) -> tuple[Body, np.ndarray, float]:
    """An apple: its body, its skin (h, w, 3) and its gloss."""
    turn = generator.normal(0, 0.5)
    squat = generator.uniform(0.0, 0.08)
    wobble = generator.normal(0, 0.02, 3)

    def outline(angle: np.ndarray) -> np.ndarray:
        c = np.cos(angle)
        top = np.exp(-((angle / 0.42) ** 2)) * np.float32(0.10)
        foot = np.exp(-(((np.pi - abs(angle)) / 0.35) ** 2)) * np.float32(0.05)
        waves = sum(w * np.cos((i + 2) * angle + i) for i, w in enumerate(wobble))
        return 1 - squat * c * c - top - foot + np.float32(0.03) * c + waves

    pit = (generator.normal(0, 0.08), -0.78 + generator.uniform(-0.1, 0.18), 0.26)
    shape = body(generator, outline, size, turn, 0.010, pit)
    red = np.array([0.72, 0.07, 0.08], np.float32) * np.float32(generator.uniform(0.75, 1.15))
    pale = np.array([0.78, 0.66, 0.22], np.float32)
    lime = np.array([0.46, 0.62, 0.16], np.float32)
    kind = generator.choice(["red", "streaked", "green", "yellow"], p=[0.4, 0.35, 0.17, 0.08])
    area = shape.x.shape
    around = np.arctan2(shape.x, -(shape.y + 0.95))
    streaks = _streaks(generator, around) + clouds(generator, area, size / 2, 3) * 0.5
    if kind == "green":
        share, first, second = streaks * 0.08 + 0.1, lime, pale
    elif kind == "yellow":
        share, first, second = streaks * 0.15 + 0.15, pale, red
    else:
        lean = generator.normal(0, 0.3) * shape.x + 0.25 * shape.y
        amount = 0.95 if kind == "red" else generator.uniform(0.45, 0.7)
        share, first, second = amount + 0.22 * streaks - lean, pale, red
    share = share.clip(0, 1)[..., None]
    skin = first + share * (second - first)
    hollow = np.exp(-((shape.x - pit[0]) ** 2 + (shape.y - pit[1]) ** 2 * 2) / np.float32(0.05))
    skin = skin + (hollow * 0.6)[..., None] * (lime * 0.6 - skin)
    return shape, skin * _dots(generator, area, size, 0.25), generator.uniform(0.4, 1.0)


def orange(generator: Generator, size: float) -> tuple[Body, np.ndarray, float]:
    """An orange, from ripe to green."""
    shape = _citrus(generator, size, lambda angle: 1 + np.float32(0.01) * np.cos(2 * angle), 0.035)
    area = shape.x.shape
    ripe = np.array([0.96, 0.47, 0.03], np.float32)
    unripe = np.array([0.62, 0.60, 0.10], np.float32)
    share = (
        0.06 + clouds(generator, area, size, 2) * 0.08 + generator.uniform(0, 0.25) * shape.y
    ).clip(0, 1)
    skin = ripe + share[..., None] * (unripe - ripe)
    x, y = generator.normal(0, 0.45, 2)
    far = np.hypot(shape.x - x, shape.y - y)
    button = smoothstep(
        0.11, 0.06, far * (1 + 0.2 * np.cos(5 * np.arctan2(shape.y - y, shape.x - x)))
    )
    if generator.random() < 0.6:
        skin = skin + button[..., None] * (np.array([0.25, 0.30, 0.10], np.float32) - skin)
        skin *= 1 - 0.25 * np.exp(-((far / 0.2) ** 2))[..., None]
    return shape, skin, generator.uniform(0.25, 0.6)


def lemon(generator: Generator, size: float) -> tuple[Body, np.ndarray, float]:
    """A lemon, with a nipple at its foot and a neck at its stem."""
    long, tip = generator.uniform(1.12, 1.32), generator.uniform(0.14, 0.24)

    def outline(angle: np.ndarray) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        oval = 1 / np.sqrt((c / long) ** 2 + (s / 0.84) ** 2)
        foot = np.exp(-(((np.pi - abs(angle)) / 0.20) ** 2)) * np.float32(tip)
        neck = np.exp(-((angle / 0.20) ** 2)) * np.float32(tip * 0.5)
        return oval + foot + neck

    shape = _citrus(generator, size * 0.86, outline, 0.03, generator.normal(0, 0.7))
    area = shape.x.shape
    ripe = np.array([0.97, 0.82, 0.12], np.float32)
    unripe = np.array([0.55, 0.68, 0.14], np.float32)
    ends = smoothstep(0.95, 1.45, abs(shape.y)) * 0.5
    share = ends + clouds(generator, area, size, 2) * 0.07 + generator.uniform(0, 0.3)
    return shape, ripe + share.clip(0, 1)[..., None] * (unripe - ripe), generator.uniform(0.2, 0.5)


def pear(generator: Generator, size: float) -> tuple[Body, np.ndarray, float]:
    """A pear: a wide belly and a narrow neck."""
    neck, waist = generator.uniform(0.34, 0.50), generator.uniform(0.08, 0.16)
    bend = generator.normal(0, 0.06)

    def outline(angle: np.ndarray) -> np.ndarray:
        top = np.exp(-(((angle - bend) / 0.52) ** 2)) * np.float32(neck)
        dent = np.exp(-(((abs(angle) - 0.86) / 0.36) ** 2)) * np.float32(waist)
        foot = np.exp(-(((np.pi - abs(angle)) / 0.3) ** 2)) * np.float32(0.03)
        return 1 + top - dent - foot

    shape = body(generator, outline, size * 0.88, generator.normal(0, 0.35), 0.010)
    area = shape.x.shape
    green = np.array([0.56, 0.64, 0.18], np.float32)
    gold = np.array([0.80, 0.66, 0.22], np.float32)
    blush = np.array([0.70, 0.26, 0.12], np.float32)
    share = (generator.uniform(0, 0.9) + clouds(generator, area, size, 3) * 0.12).clip(0, 1)
    skin = green + share[..., None] * (gold - green)
    cheek = smoothstep(0.2, 1.1, shape.x * generator.choice([-1, 1]) + 0.3 * shape.y)
    skin = skin + (cheek * generator.uniform(0, 0.8))[..., None] * (blush - skin)
    skin *= _dots(generator, area, size, -0.35)
    return shape, skin, generator.uniform(0.15, 0.5)


FRUITS = (apple, orange, lemon, pear)


def _citrus(
    generator: Generator,
    size: float,
    outline: Callable[[np.ndarray], np.ndarray],
    bumps: float,
    turn: float = 0.0,
) -> Body:
    waves = generator.normal(0, 0.012, 3)

    def wavy(angle: np.ndarray) -> np.ndarray:
        return outline(angle) + sum(w * np.cos((i + 2) * angle) for i, w in enumerate(waves))

    return body(generator, wavy, size, turn, bumps)


def _streaks(generator: Generator, around: np.ndarray) -> np.ndarray:
    """Noise that runs along the meridians of a fruit, of standard deviation about 1."""
    line = clouds(generator, (1, 512), 14, 3)[0]
    return line[((around / (2 * np.pi) + 0.5) * 511).astype(int)]


def _dots(generator: Generator, area: tuple[int, ...], size: float, strength: float) -> np.ndarray:
    """The little dots of a skin: 1, and more or less on each dot, (h, w, 1)."""
    dots = np.zeros(area, np.float32)
    for x, y in generator.integers(0, max(area), (90, 2)):
        cv2.circle(dots, (int(x), int(y)), max(1, round(size / 55)), 1.0, -1, cv2.LINE_AA)
    return 1 + dots[..., None] * np.float32(strength)


def _stem(
    generator: Generator, canvas: Canvas, shape: Body, left: int, top: int, size: float
) -> None:
    """A stem from the pit upwards; it is no part of the fruit's box."""
    high = -0.72 if shape.y[shape.mask].min() > -1.1 else shape.y[shape.mask].min() + 0.05
    far = np.hypot(shape.x, shape.y - high)
    foot = np.unravel_index(np.argmin(far), far.shape)
    x, y = left + float(foot[1]), top + float(foot[0])
    up = generator.normal(0, 0.35)
    tip = x + np.sin(up) * size * 0.5, y - np.cos(up) * size * 0.5
    _stroke(
        generator,
        canvas,
        (x, y),
        tip,
        size * 0.055,
        np.array([0.23, 0.17, 0.08], np.float32),
        False,
    )


# --- leaves and wood


def _put_leaf(
    generator: Generator,
    canvas: Canvas,
    sun: np.ndarray,
    green: np.ndarray,
    zoom: float,
    most_hidden: float,
) -> None:
    picture, alpha = leaf(generator, zoom * generator.uniform(0.8, 1.7), sun, green)
    mask = alpha > 0.5
    for _ in range(3):
        left, top = somewhere(generator, canvas.side, len(alpha), 0.5)
        if canvas.hidden_by(mask, left, top) <= most_hidden:
            break
    else:
        return
    shade = cv2.GaussianBlur(alpha, (0, 0), max(2.0, zoom * 0.06))
    canvas.filter(1 - shade * np.float32(0.4), left, top + int(zoom * 0.1))
    canvas.blend(picture, alpha, left, top)
    canvas.hide(mask, left, top)


def leaf(
    generator: Generator, length: float, sun: np.ndarray, green: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A leaf: colours (h, w, 3) and how much it covers (h, w)."""
    turn = generator.uniform(0, 2 * np.pi)
    long, high = int(length) + 4, int(length * 0.62)
    along = (np.arange(long, dtype=np.float32) - 2) / length  # 0 at the stalk, 1 at the tip
    across = (np.arange(high, dtype=np.float32)[:, None] - high / 2) / length
    across = across - np.float32(generator.normal(0, 0.12)) * ((along - 0.5) ** 2 - 0.25)
    inside = along.clip(0, 1)
    width = np.float32(generator.uniform(0.34, 0.6) * generator.uniform(0.45, 1.0))  # seen aslant
    half = width * inside**0.62 * (1 - inside) ** 0.8
    half = half * (1 + 0.04 * np.cos(along * np.float32(90)) * np.float32(generator.integers(2)))
    alpha = smoothstep(1.2, -1.2, (abs(across) - half) * length) * (half > 0)
    slope = -np.sign(across) * np.float32(generator.uniform(0.15, 0.7))  # folded at its rib
    slope = slope + (along - 0.5) * np.float32(generator.normal(0, 0.5))
    bend = (along - 0.5) * np.float32(generator.normal(0, 1.2))
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    nx, ny = slope * s + bend * c, bend * s - slope * c
    facing = (nx * sun[0] + ny * sun[1] + sun[2]) / np.sqrt(1 + nx * nx + ny * ny)
    vein = np.exp(-((across * length / max(1.0, length * 0.012)) ** 2)) * np.float32(0.55)
    ribs = abs(((along - abs(across) * 0.9) * 8) % 1 - 0.5)
    vein = vein + smoothstep(0.10, 0.0, ribs) * np.float32(0.22)
    mottle = 1 + clouds(generator, (high, long), length / 5, 3) * np.float32(0.07)
    hue = green * generator.normal(1, 0.10, 3).astype(np.float32)
    hue = hue * np.float32(generator.uniform(0.7, 1.25))
    if generator.random() < 0.06:  # an old leaf
        hue = np.array([0.55, 0.45, 0.10], np.float32) * np.float32(generator.uniform(0.6, 1.0))
    light = smoothstep(-0.3, 1.1, facing)[..., None] * SUN * np.float32(1.05) + SHADE * 0.4
    if generator.random() < 0.3:  # lit from behind
        through = smoothstep(0.9, 0.2, facing)[..., None]
        light = light + through * np.array([0.6, 0.7, 0.1], np.float32)
    shine = smoothstep(0.93, 1.0, facing) * np.float32(generator.uniform(0, 0.3))
    picture = hue * mottle[..., None] + (vein * np.float32(0.16))[..., None]
    picture = picture * light + shine[..., None] * SKY
    wide = int(abs(c) * long + abs(s) * high) + 2, int(abs(s) * long + abs(c) * high) + 2
    turning = np.array([[c, -s, 0], [s, c, 0]], np.float32)
    turning[:, 2] = np.array(wide) / 2 - turning[:, :2] @ [long / 2, high / 2]
    return cv2.warpAffine(picture, turning, wide), cv2.warpAffine(alpha, turning, wide)


def _branch(generator: Generator, canvas: Canvas, sun: np.ndarray) -> None:
    """A branch across the picture, with twigs."""
    side = canvas.side
    turn = generator.normal(0.3, 0.5) + generator.choice([0, np.pi])
    point = (
        generator.uniform(0.1, 0.9, 2) * side - np.array([np.cos(turn), np.sin(turn)]) * side * 0.7
    )
    thick = side * generator.uniform(0.010, 0.028)
    wood = np.array([0.30, 0.24, 0.18], np.float32) * np.float32(generator.uniform(0.6, 1.1))
    for _ in range(14):
        turn += generator.normal(0, 0.12)
        after = point + np.array([np.cos(turn), np.sin(turn)]) * side * 0.11
        _stroke(generator, canvas, tuple(point), tuple(after), thick, wood, True)
        if generator.random() < 0.5:
            twig = turn + generator.choice([-1, 1]) * generator.uniform(0.4, 1.1)
            end = after + np.array([np.cos(twig), np.sin(twig)]) * side * generator.uniform(
                0.06, 0.2
            )
            _stroke(generator, canvas, tuple(after), tuple(end), thick * 0.4, wood * 0.9, True)
        point, thick = after, thick * 0.95


def _stroke(
    generator: Generator,
    canvas: Canvas,
    start: tuple[float, float],
    end: tuple[float, float],
    thick: float,
    colour: np.ndarray,
    bark: bool,
) -> None:
    """A round rod from one point to another, lit from above."""
    margin = int(thick * 2) + 3
    left, top = (int(min(a, b)) - margin for a, b in zip(start, end, strict=True))
    right, bottom = (int(max(a, b)) + margin for a, b in zip(start, end, strict=True))
    if right <= 0 or bottom <= 0 or left >= canvas.side or top >= canvas.side:
        return
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    dx, dy = end[0] - start[0], end[1] - start[1]
    long = np.hypot(dx, dy) + 1e-6
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / long
    across = ((x - start[0]) * dy - (y - start[1]) * dx) / long
    past = along - along.clip(0, long)
    far = np.hypot(across, past) / np.float32(thick)
    alpha = smoothstep(1 + 0.8 / thick, 1 - 0.8 / thick, far).astype(np.float32)
    up = across * np.float32(np.sign(dx) if abs(dx) > 1 else 1) / np.float32(thick)
    light = 0.75 + 0.45 * up.clip(-1, 1) * (1 if bark else 0.6)
    if bark:
        light = light * (1 + clouds(generator, far.shape, max(2.0, thick * 0.6), 3) * 0.22)
    canvas.blend(light[..., None].astype(np.float32) * colour, alpha, left, top)
    canvas.hide(alpha > 0.5, left, top)


def _far(generator: Generator, side: int) -> np.ndarray:
    """Trees far away, out of focus, and sky between them."""
    small = side // 8
    far: np.ndarray = np.empty((small, small, 3), np.float32)
    deep, light = _green(generator) * 0.25, _green(generator) * 0.9
    share = smoothstep(-1.2, 1.4, clouds(generator, (small, small), small / 6, 4))[..., None]
    far[:] = deep + share * (light - deep)
    y = np.linspace(1, -1, small, dtype=np.float32)[:, None]
    gaps = smoothstep(1.2, 1.9, clouds(generator, (small, small), small / 7, 3) + y * 0.5)
    far += gaps[..., None] * (SKY * np.float32(generator.uniform(0.75, 1.1)) - far)
    for _ in range(generator.integers(40, 110)):  # leaves so far off that each is a disc
        column, row = (int(v) for v in generator.integers(0, small, 2))
        tint = far[row, column] * np.float32(generator.uniform(0.7, 1.8))
        disc = far.copy()
        cv2.circle(disc, (column, row), int(generator.integers(1, 4)), tint.tolist(), -1)
        far += np.float32(0.5) * (disc - far)
    far = cv2.GaussianBlur(far, (0, 0), side / 800)
    return cv2.resize(far, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def _dapple(generator: Generator, side: int) -> np.ndarray:
    """Patches of sun and of shade, (S, S, 3)."""
    spots = clouds(generator, (side, side), side / generator.uniform(4, 9), 3)
    edge = generator.uniform(-0.7, 0.5)
    lit = smoothstep(edge - 0.5, edge + 0.5, spots)[..., None]
    depth = np.float32(generator.uniform(0.5, 0.85))
    cool = np.array([0.86, 0.95, 1.10], np.float32) * depth
    return cool + lit * (np.array([1.18, 1.14, 1.02], np.float32) - cool)


def _photograph(generator: Generator, light: np.ndarray) -> np.ndarray:
    image = shrink(light) * np.float32(generator.uniform(1.2, 1.7))
    glow = cv2.GaussianBlur(np.maximum(image - 0.8, 0), (0, 0), 4)
    image = image + glow * 0.5
    image = image / (1 + np.maximum(image - 0.8, 0))
    image = sensor(generator, image, generator.uniform(0.25, 0.8), generator.uniform(0.008, 0.025))
    return image * generator.normal(1, 0.03, 3).astype(np.float32)
