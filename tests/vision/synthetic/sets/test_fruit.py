"""Fruit: round bodies lit from the sun's side, and leaves that cover where they are painted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labkit.vision.synthetic.sets import fruit
from labkit.vision.synthetic.sets.canvas import Canvas
from tests.vision.synthetic.drawing import rng


@pytest.mark.parametrize("kind", range(len(fruit.NAMES)), ids=fruit.NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_a_fruit_is_whole_on_its_patch(kind, seed):
    body, skin, _ = fruit.FRUITS[kind](rng(seed), 60.0)
    assert body.mask.shape == skin.shape[:2]
    np.testing.assert_allclose(np.linalg.norm(body.normal, axis=2), 1, atol=1e-5)
    edge = np.concatenate([body.mask[0], body.mask[-1], body.mask[:, 0], body.mask[:, -1]])
    assert not edge.any()
    pieces = cv2.connectedComponents(body.mask.astype(np.uint8))[0] - 1
    assert pieces == 1


def sphere(size: float = 50.0) -> fruit.Body:
    return fruit.body(rng(0), np.ones_like, size, turn=0.0)


def test_a_round_outline_gives_a_sphere():
    size = 50.0
    ball = sphere(size)
    assert ball.mask.sum() == pytest.approx(np.pi * size**2, rel=0.01)
    inner = np.hypot(ball.x, ball.y) < 0.9
    expected = np.dstack([ball.x, ball.y, np.sqrt((1 - ball.x**2 - ball.y**2).clip(0))])
    np.testing.assert_allclose(ball.normal[inner], expected[inner], atol=0.01)
    np.testing.assert_allclose(ball.rise[inner], expected[inner][:, 2], atol=1e-3)


@pytest.mark.parametrize("turn", [0.0, np.pi / 2, np.pi])
def test_a_body_hangs_as_it_is_turned(turn):
    """The stem of an outline that is longest there points up, and turns with the body."""
    drop = fruit.body(rng(0), lambda angle: 1 + 0.4 * np.exp(-((angle / 0.3) ** 2)), 50.0, turn)
    rows, columns = np.nonzero(drop.mask & (drop.y < -1.2))
    middle = np.unravel_index(np.hypot(drop.x, drop.y).argmin(), drop.x.shape)
    tip = np.array([columns.mean() - middle[1], rows.mean() - middle[0]])
    np.testing.assert_allclose(tip / np.linalg.norm(tip), [np.sin(turn), -np.cos(turn)], atol=0.02)


def test_a_dimple_leans_towards_its_middle():
    pit = (0.0, -0.4, 0.2)
    dented = fruit.body(rng(0), np.ones_like, 50.0, 0.0, dimple=pit)
    near = np.abs(dented.x) < 0.02
    above, below = (near & (np.abs(dented.y - y) < 0.02) for y in (-0.5, -0.3))
    change = dented.normal - sphere().normal
    assert change[above][:, 1].mean() > 0.1, "the upper wall turns down"
    assert change[below][:, 1].mean() < -0.1, "the lower wall turns up"


@pytest.mark.parametrize("side", [-1, 1])
def test_the_side_that_faces_the_sun_is_the_brighter_one(side):
    ball, sun = sphere(), fruit._unit(0.9 * side, 0.0, 0.3)
    picture = fruit._lit(ball, np.full((*ball.mask.shape, 3), 0.5, np.float32), 0.5, sun)
    lit, dark = (ball.mask & (ball.x * side * sign > 0.5) for sign in (1, -1))
    assert picture[lit].mean() > 1.5 * picture[dark].mean()
    brightest = np.unravel_index(picture.sum(2).argmax(), ball.mask.shape)
    assert ball.x[brightest] * side > 0


def test_streaks_follow_the_meridians():
    around = np.repeat(np.linspace(-3, 3, 40)[None], 8, 0)
    streaks = fruit._streaks(rng(1), around)
    assert (streaks == streaks[0]).all()
    assert streaks[0].std() > 0.3


def test_dots_change_a_skin_by_their_strength_only():
    for strength in (0.25, -0.35):
        factor = fruit._dots(rng(0), (80, 90), 60.0, strength)
        assert factor.shape == (80, 90, 1)
        assert {factor.min(), factor.max()} == {np.float32(1), np.float32(1 + strength)}


@pytest.mark.parametrize("seed", range(4))
def test_a_leaf_is_one_piece_and_longer_than_wide(seed):
    picture, alpha = fruit.leaf(rng(seed), 80.0, fruit._unit(0, -1, 1), fruit._green(rng(seed)))
    assert picture.shape == (*alpha.shape, 3)
    assert (alpha.min(), alpha.max()) == (0, pytest.approx(1, abs=0.01))
    mask = (alpha > 0.5).astype(np.uint8)
    assert cv2.connectedComponents(mask)[0] - 1 == 1
    _, (width, height), _ = cv2.minAreaRect(np.argwhere(mask).astype(np.float32))
    assert max(width, height) == pytest.approx(80, rel=0.12)
    assert max(width, height) > 1.5 * min(width, height)


def test_a_stroke_is_a_rod_with_round_ends():
    canvas = Canvas(np.zeros((120, 160, 3), np.float32))
    canvas.add(0, np.ones((120, 160), bool), 0, 0)
    white = np.ones(3, np.float32)
    fruit._stroke(rng(0), canvas, (40.0, 60.0), (110.0, 60.0), 8.0, white, bark=False)
    drawn = canvas.image[..., 0] > 0.3
    expected = 2 * 8 * 70 + np.pi * 8**2
    assert drawn.sum() == pytest.approx(expected, rel=0.05)
    hidden = ~canvas.objects[0].seen
    assert hidden.sum() == pytest.approx(expected, rel=0.05)
    before = canvas.image.copy()
    fruit._stroke(rng(0), canvas, (-90.0, 60.0), (-40.0, 60.0), 8.0, white, bark=True)
    np.testing.assert_array_equal(canvas.image, before)
