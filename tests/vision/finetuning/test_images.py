from __future__ import annotations

import cv2
import numpy as np
import pytest

from labkit.core.ultralytics import ultralytics
from labkit.vision.data import open_data
from tests.vision.finetuning import tiny

ultralytics()

from labkit.vision.finetuning.images import Images  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.data(tmp_path_factory.mktemp("set"), train=6, val=3).parent


@pytest.fixture(scope="module")
def theirs(folder, tmp_path_factory):
    """Ultralytics' own data set over a copy of the same files."""
    import shutil

    from ultralytics.data.dataset import YOLODataset

    copy = tmp_path_factory.mktemp("copy") / "set"
    shutil.copytree(folder, copy)
    config = {**open_data(copy).config(), "channels": 3}
    return YOLODataset(
        img_path=str(copy / "images" / "train"), data=config, task="detect", imgsz=64, augment=False
    )


@pytest.fixture
def ours(folder):
    return Images(open_data(folder), "train", imgsz=64, augment=False)


def test_files_and_labels_are_those_that_ultralytics_finds(ours, theirs):
    assert [path.rsplit("/", 1)[1] for path in ours.im_files] == [
        path.rsplit("/", 1)[1] for path in theirs.im_files
    ]
    for own, other in zip(ours.labels, theirs.labels, strict=True):
        np.testing.assert_allclose(own["bboxes"], other["bboxes"], atol=1e-6)
        np.testing.assert_array_equal(own["cls"], other["cls"])
        assert tuple(own["shape"]) == tuple(other["shape"])


@pytest.mark.parametrize("index", range(6))
def test_a_sample_is_theirs(ours, theirs, index):
    own, other = ours[index], theirs[index]
    assert (own["img"] == other["img"]).all()
    np.testing.assert_allclose(own["bboxes"], other["bboxes"], atol=1e-6)


def test_nothing_is_written_among_the_users_files(folder):
    before = sorted(folder.rglob("*"))
    Images(open_data(folder), "val", imgsz=64, augment=False)
    assert sorted(folder.rglob("*")) == before
    assert not list(folder.rglob("*.cache"))


def test_cached_images_are_the_pixels_of_the_files(ours):
    ours.ims, ours.im_hw0, ours.im_hw = ([None] * ours.ni for _ in range(3))
    ours.cache_images()
    for path, pixels, size in zip(ours.im_files, ours.ims, ours.im_hw0, strict=True):
        np.testing.assert_array_equal(pixels, cv2.imread(path))
        assert tuple(size) == pixels.shape[:2] == (64, 64)
