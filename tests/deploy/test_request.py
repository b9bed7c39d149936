from __future__ import annotations

import os

import pytest

from labkit.core.errors import LabError
from labkit.deploy.coverage import FEW
from labkit.deploy.request import CALIBRATION_IMAGES, read_request
from labkit.vision import open_data
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("request")
    tiny.weights(folder / "start.safetensors", tiny.NEW)
    tiny.data(folder / "data", train=6, val=4)
    tiny.data(folder / "other", names=tiny.OLD, train=2, val=2)
    return folder


def request_for(place, **changes):
    plain = {
        "weights": place / "start.safetensors", "data": place / "data", "target": "latency",
        "max_drop": 0.01, "imgsz": 64, "calibration": None, "calibration_images": 64,
        "limit": None, "threads": None,
    }  # fmt: skip
    return read_request(**{**plain, **changes})


def test_weights_and_data_are_read(place):
    found = request_for(place, limit=3, calibration_images=2)
    assert found.threads == os.cpu_count()
    assert (len(found.validation), len(found.calibrating)) == (3, 2)
    assert not found.foreign
    assert found.about(1.26) == {
        "weights": found.detector.name,
        "weights_sha256": found.detector.weights.sha256,
        "data": "data",
        "data_sha256": open_data(place / "data").sha256,
        "validation_images": 3,
        "calibration": "data",
        "calibration_sha256": open_data(place / "data").sha256,
        "calibration_images": 2,
        "imgsz": 64,
        "names": {"0": "square", "1": "cross"},
        "seconds": 1.3,
    }


def test_a_detector_that_is_open_is_taken_as_it_is(place):
    detector = request_for(place).detector
    assert request_for(place, weights=detector).detector is detector


@pytest.mark.parametrize(
    ("changes", "doubtful"),
    [
        ({}, False),  # all training images there are: nothing better is possible
        ({"calibration_images": 2}, True),
        ({"calibration": "other"}, True),
    ],
)
def test_whether_a_better_calibration_is_possible(place, changes, doubtful):
    assert FEW <= CALIBRATION_IMAGES
    if "calibration" in changes:
        changes = {"calibration": place / changes["calibration"]}
    found = request_for(place, **changes)
    assert found.doubtful is doubtful
    assert found.foreign is ("calibration" in changes)
    assert len(found.control()) == 6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": "other"}, "they must be the same"),
        ({"imgsz": 100}, "multiple of 32"),
        ({"target": "speed"}, "target='speed' is not known"),
        ({"max_drop": 5}, "max_drop=5"),
        ({"max_drop": -0.1}, "max_drop=-0.1"),
        ({"calibration_images": 0}, "calibration_images=0"),
        ({"threads": 10_000}, "cores"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_mistakes_are_refused(place, changes, reason):
    if "data" in changes:
        changes = {"data": place / changes["data"]}
    with pytest.raises(LabError, match=reason):
        request_for(place, **changes)


def test_a_network_that_gives_no_boxes_is_refused(place):
    import dataclasses

    detector = dataclasses.replace(request_for(place).detector, task="segment")
    with pytest.raises(LabError, match=r"is for task segment: a search measures boxes"):
        request_for(place, weights=detector)
