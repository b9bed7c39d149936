from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from labkit.core.errors import FileError, LabError
from labkit.core.ultralytics import silent
from labkit.vision import predict
from labkit.vision.detections import Detections, photographs, read_image
from tests.vision.networks import detector

PHOTO = "bus.jpg"


@pytest.fixture(scope="module")
def photo():
    return read_image(photographs()[PHOTO])


def ultralytics_results(one, image, kind, **more):
    """Ultralytics' own predictor, from its own copy of the network."""
    from ultralytics.models import yolo

    predictor = getattr(getattr(yolo, kind[0]), kind[1])(
        overrides={"imgsz": 96, "conf": 0.5, "rect": False, "verbose": False, "save": False} | more
    )
    with silent():
        (result,) = predictor(source=[image[..., ::-1]], model=one.model)
    return result


def in_order(boxes, classes):
    rows = np.hstack([classes[:, None], boxes])
    return rows[np.lexsort(np.round(rows).T[::-1])]


@pytest.mark.parametrize(
    ("architecture", "nms"), [("yolo26n", None), ("yolo26n", False), ("yolov8n", None)]
)
def test_it_finds_what_ultralytics_finds(architecture, nms, photo):
    one = detector(architecture)
    (mine,) = predict(one, photo, imgsz=96, confidence=0.5, nms=nms is not False)
    theirs = ultralytics_results(one, photo, ("detect", "DetectionPredictor"), nms=nms)
    assert len(mine) == len(theirs.boxes) > 0
    np.testing.assert_allclose(mine.scores, theirs.boxes.conf.numpy(), atol=1e-4)
    assert (np.diff(mine.scores) <= 0).all()
    # Sorted: an untrained network gives many boxes the very same score.
    np.testing.assert_allclose(
        in_order(mine.boxes, mine.classes),
        in_order(theirs.boxes.xyxy.numpy(), theirs.boxes.cls.numpy()),
        atol=0.05,
    )
    high, wide = photo.shape[:2]
    assert (mine.boxes >= 0).all()
    assert (mine.boxes <= [wide, high, wide, high]).all()


TASKS = [
    ("yolo26n-seg", 80, ("segment", "SegmentationPredictor")),
    ("yolov8n-pose", 1, ("pose", "PosePredictor")),
    ("yolo26n-obb", 80, ("obb", "OBBPredictor")),
    ("yolo26n-cls", 1000, ("classify", "ClassificationPredictor")),
]


@pytest.mark.parametrize(("architecture", "classes", "kind"), TASKS, ids=[t[0] for t in TASKS])
def test_other_tasks_predict_too(architecture, classes, kind, photo):
    one = detector(architecture, classes)
    least = 1e-5
    (mine,) = predict(one, photo, imgsz=96, confidence=least, most=20)
    theirs = ultralytics_results(one, photo, kind, conf=least, max_det=20)
    assert 0 < len(mine) <= 20
    if kind[0] == "classify":
        assert mine.classes.tolist() == theirs.probs.top5
        np.testing.assert_allclose(mine.scores, theirs.probs.top5conf.numpy(), atol=1e-4)
        assert mine.boxes.tolist() == [[0, 0, 810, 1080]] * 5
        return
    found = theirs.obb if kind[0] == "obb" else theirs.boxes
    np.testing.assert_allclose(mine.scores, found.conf.numpy(), atol=1e-4)
    np.testing.assert_allclose(mine.boxes, found.xyxy.numpy(), atol=0.5)
    if kind[0] == "segment":
        assert [o.shape for o in mine.outlines] == [p.shape for p in theirs.masks.xy]
    if kind[0] == "obb":
        np.testing.assert_allclose(np.stack(mine.outlines), found.xyxyxyxy.numpy(), atol=0.5)
    if kind[0] == "pose":
        np.testing.assert_allclose(mine.keypoints, theirs.keypoints.data.numpy(), atol=0.5)
    sure = mine.above(float(mine.scores[0]))
    assert 1 <= len(sure) <= len(mine)
    for extra in (sure.outlines, sure.keypoints):
        assert extra is None or len(extra) == len(sure)


def test_several_images_of_different_sizes_are_one_call(photo):
    one = detector()
    images = [photo, photo[:200, :500], photo[100:, :300]] * 6
    found = predict(one, images, imgsz=64, confidence=0.5)
    assert len(found) == 18
    for image, several in zip(images[:3], found, strict=False):
        (alone,) = predict(one, image, imgsz=64, confidence=0.5)
        np.testing.assert_allclose(alone.boxes, several.boxes, atol=0.05)
        assert several.seconds > 0


def test_an_image_is_read_from_whatever_holds_one(photo, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    for source in (path, str(path), path.read_bytes(), photo, Image.open(path)):
        np.testing.assert_array_equal(read_image(source), photo)


def test_a_photograph_stands_upright():
    wide = Image.fromarray(np.zeros((20, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by the camera
    file = io.BytesIO()
    wide.save(file, "JPEG", exif=exif)
    assert read_image(file.getvalue()).shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("missing.jpg", FileError, "There is no image missing.jpg"),
        (b"<html>", FileError, "not an image that can be read"),
        (np.zeros((4, 4)), LabError, "not (4, 4) of float64"),
    ],
)
def test_what_is_no_image_says_so(source, error, said):
    with pytest.raises(error) as refused:
        read_image(source)
    assert said in str(refused.value)


def test_an_image_cut_short_and_one_too_large_are_refused(tmp_path, photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG")
    with pytest.raises(FileError, match="not an image that can be read"):
        read_image(file.getvalue()[:2000])
    bomb = tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(bomb)
    with pytest.raises(FileError, match="too many pixels"):
        read_image(bomb)


@pytest.mark.parametrize("given", [{"imgsz": 5}, {"confidence": 25}])
def test_values_out_of_range_are_answered(given, photo):
    with pytest.raises(LabError, match="choose"):
        predict(detector(), photo, **{"imgsz": 64} | given)


def test_rows_name_the_classes():
    found = Detections(
        np.array([[1, 2, 3, 4]], np.float32), np.array([0.5]), np.array([1]), {1: "disc"}
    )
    assert found.rows() == [
        {"class": "disc", "score": 0.5, "left": 1, "top": 2, "right": 3, "bottom": 4}
    ]
