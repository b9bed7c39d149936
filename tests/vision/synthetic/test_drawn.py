"""Drawn sets are what Ultralytics reads, whole or not there."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import yaml

from labkit.core.ultralytics import ultralytics
from labkit.vision.synthetic.drawn import Drawn, draw_one, export


def rectangles(generator: np.random.Generator, size: int) -> Drawn:
    """Bright rectangles on black, whose boxes are known."""
    image = np.zeros((size, size, 3), np.uint8)
    corners = generator.integers(0, size // 2, (3, 2))
    boxes = np.concatenate([corners, corners + generator.integers(4, size // 2, (3, 2))], 1)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    return Drawn(image, boxes.astype(np.float32), np.array([0, 1, 1]))


def test_ultralytics_reads_what_was_drawn(tmp_path):
    ultralytics()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    path = export(rectangles, ["a", "b"], tmp_path / "set", {"train": 3, "val": 2}, 64, seed=5)
    data = check_det_dataset(str(path))
    assert data["names"] == {0: "a", 1: "b"}
    for split, count in (("train", 3), ("val", 2)):
        read = YOLODataset(data[split], data=data, imgsz=64, augment=False)
        assert len(read) == count
        for index, label in enumerate(sorted(read.labels, key=lambda one: one["im_file"])):
            drawn = draw_one(rectangles, 5, split, index, 64)
            left, top, right, bottom = drawn.boxes.T
            centres = np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
            np.testing.assert_allclose(label["bboxes"], centres.T / 64, atol=1e-6)
            np.testing.assert_array_equal(label["cls"][:, 0], drawn.classes)
            image = cv2.imread(label["im_file"])
            assert np.abs(image.astype(int) - drawn.image).mean() < 5  # JPEG


def test_an_image_depends_on_seed_split_and_number_alone(tmp_path):
    few = export(rectangles, ["a", "b"], tmp_path / "few", {"val": 1}, 64).parent
    many = export(rectangles, ["a", "b"], tmp_path / "many", {"train": 2, "val": 3}, 64).parent
    for file in ("images/val/00000.jpg", "labels/val/00000.txt"):
        assert (few / file).read_bytes() == (many / file).read_bytes()
    images = [draw_one(rectangles, *which, 64).image for which in ((0, "train", 0), (0, "val", 0))]
    assert not np.array_equal(*images)


def test_a_set_that_cannot_be_finished_leaves_nothing(tmp_path):
    def fails_later(generator: np.random.Generator, size: int) -> Drawn:
        if generator.random() < 0.3:
            raise OSError("no space left")
        return rectangles(generator, size)

    with pytest.raises(OSError, match="no space left"):
        export(fails_later, ["a", "b"], tmp_path / "set", {"train": 30}, 16)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_drawing_left_is_cleared(tmp_path):
    old, new, other = (tmp_path / name for name in (".set-old", ".set-new", ".others-old"))
    for folder in (old, new, other):
        (folder / "images").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (0, 0))
    export(rectangles, ["a", "b"], tmp_path / "set", {"train": 1}, 16)
    assert {path.name for path in tmp_path.iterdir()} == {".set-new", ".others-old", "set"}


def test_one_that_has_just_ended_is_no_matter(tmp_path):
    gone = tmp_path / ".set-gone"  # it is listed, and is not there when it is looked at
    gone.symlink_to(tmp_path / "nowhere")
    assert export(rectangles, ["a", "b"], tmp_path / "set", {"train": 1}, 16).exists()


def test_several_may_draw_the_same_set_at_once(tmp_path):
    def make(_: int) -> str:
        return export(rectangles, ["a", "b"], tmp_path / "set", {"train": 5}, 32).read_text()

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(make, range(4)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(list((tmp_path / "set/images/train").iterdir())) == 5


def test_one_that_is_there_is_left_as_it_is(tmp_path):
    path = export(rectangles, ["a"], tmp_path / "set", {"train": 1}, 32)
    path.write_text(yaml.safe_dump({"names": ["mine"]}))
    assert export(rectangles, ["a"], tmp_path / "set", {"train": 1}, 32) == path
    assert yaml.safe_load(path.read_text()) == {"names": ["mine"]}
