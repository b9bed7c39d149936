"""Scenes: decided by their random numbers, varied, and boxed where things are seen."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import draw_one


@pytest.fixture(scope="module")
def drawn():
    return [draw_one(scenes.draw, 0, "val", index, 128) for index in range(150)]


def test_the_same_numbers_give_the_same_scene():
    first, second = (scenes.draw(np.random.default_rng(7), 96) for _ in range(2))
    other = scenes.draw(np.random.default_rng(8), 96)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, other.image)


def test_boxes_lie_in_the_image_and_are_not_tiny(drawn):
    boxes = np.concatenate([one.boxes for one in drawn])
    assert boxes.min() >= 0
    assert boxes.max() <= 128
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= scenes.TINY
    assert all(len(one.boxes) == len(one.classes) for one in drawn)


def test_scenes_are_varied(drawn):
    counts = collections.Counter(np.concatenate([one.classes for one in drawn]).tolist())
    assert sorted(counts) == list(range(len(scenes.NAMES)))
    assert max(counts.values()) < 3 * min(counts.values()), counts
    sides = np.concatenate([one.boxes[:, 2] - one.boxes[:, 0] for one in drawn]) / 128
    assert np.quantile(sides, 0.9) > 3 * np.quantile(sides, 0.1)
    brightness = [one.image.mean() for one in drawn]
    assert np.std(brightness) > 20


def test_a_box_is_around_what_is_seen(monkeypatch):
    """A lone object on plain ground, with a perfect camera: its pixels are the box's."""
    monkeypatch.setattr(scenes, "background", lambda _, size: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(scenes, "MOST", 1)
    monkeypatch.setattr(scenes, "_shadow", lambda *_: None)
    monkeypatch.setattr(scenes.camera, "light", lambda _, image: image)
    monkeypatch.setattr(
        scenes.camera, "photograph", lambda _, image: image.clip(0, 255).astype(np.uint8)
    )
    monkeypatch.setattr(scenes.objects, "shade", lambda _, cover, mask: cover)
    white = lambda _, __, side, ___: np.full((side, side, 3), 255, np.float32)  # noqa: E731
    monkeypatch.setattr(scenes.objects, "surface", white)
    found = 0
    for seed in range(40):
        drawn = scenes.draw(np.random.default_rng(seed), 128)
        rows, columns = np.nonzero(drawn.image[..., 0] > 127)
        if len(drawn.boxes):
            found += 1
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(drawn.boxes[0], seen, atol=1)
    assert found > 30


def test_what_is_hidden_has_no_box():
    owners = np.full((20, 20), -1)
    owners[2:8, 3:9] = 0  # whole
    owners[10:12, 10:12] = 1  # a corner of 10 by 10
    owners[15:18, 0:18] = 2  # three rows: too thin
    boxes, classes = scenes._boxes(owners, np.array([5, 6, 7]), np.array([36, 100, 54]))
    np.testing.assert_array_equal(boxes, [[3, 2, 9, 8]])
    np.testing.assert_array_equal(classes, [5])


def test_nothing_hides_most_of_another():
    owners = np.full((10, 10), -1)
    owners[:, :5] = 0
    half, most = owners[:5, :5].ravel(), owners[:9, :5].ravel()
    assert not scenes._hides_most(half, owners, [50])
    assert scenes._hides_most(most, owners, [50])
