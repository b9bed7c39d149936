from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labkit.core.errors import LabError
from labkit.vision.example_images import examples, side_by_side
from tests.vision import networks


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return networks.data_set(tmp_path_factory.mktemp("examples"), val=7)


def test_they_are_spread_over_the_split_with_their_labels(data):
    shown = examples(data, 3)
    assert [one.name for one in shown] == [data.val[k].name for k in (0, 2, 4)]
    for one, path in zip(shown, (data.val[k] for k in (0, 2, 4)), strict=True):
        np.testing.assert_array_equal(one.image, np.asarray(Image.open(path).convert("RGB")))
        text = path.parents[2] / "labels" / "val" / f"{path.stem}.txt"
        rows = np.loadtxt(text, ndmin=2)
        high, wide = one.image.shape[:2]
        centres = (one.labels.boxes[:, :2] + one.labels.boxes[:, 2:]) / 2 / [wide, high]
        np.testing.assert_allclose(centres, rows[:, 1:3], atol=1e-4)
        np.testing.assert_array_equal(one.labels.classes, rows[:, 0])
        assert set(one.labels.scores) == {1.0}


def test_of_a_small_split_all_are_shown(data):
    assert len(examples(data, 99)) == 7
    assert len(examples(data, 99, "train")) == 2
    with pytest.raises(LabError, match="train or val"):
        examples(data, 3, "test")


def test_labels_stand_beside_what_detectors_find(data):
    shown = examples(data, 2)
    same, other = networks.detector(), networks.detector(classes=5)
    rows = side_by_side(shown, {"same": same, "other": other}, imgsz=64, confidence=0.01)
    assert [list(row) for row in rows] == [["labelled", "same", "other"]] * 2
    for one, row in zip(shown, rows, strict=True):
        assert all(image is one.image for image, _ in row.values())
        assert row["labelled"][1] is one.labels
        assert row["same"][1].names == data.names
        # Classes with other names have other numbers, and so other colours.
        found = row["other"][1]
        assert len(found)
        assert found.classes.min() >= len(data.names)
        assert set(found.names.values()) == set(other.names.values())
    assert side_by_side([], {"same": same}) == []
