from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.core.errors import LabError
from labkit.core.ultralytics import silent
from labkit.vision import evaluate, evaluation
from labkit.vision.detector import Detector
from labkit.vision.evaluation import run, samples, summarize
from tests.vision.networks import NAMES, Knows, data_set, detector


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("data"))


def ultralytics_metrics(network, data, imgsz, folder, **more):
    """Ultralytics' own validator on the same images."""
    from ultralytics.models.yolo.detect import DetectionValidator

    args = {
        "data": str(data.yaml),
        "imgsz": imgsz,
        "rect": False,
        "batch": 5,
        "plots": False,
        "project": str(folder),
        "name": "run",
        "workers": 0,
        "device": "cpu",
        **more,
    }
    with silent():
        validator = DetectionValidator(args=args)
        validator(model=network)
    return validator.metrics


def assert_equal(mine, theirs, names, tolerance):
    box = theirs.box
    assert mine.map50 == pytest.approx(box.map50, abs=tolerance)
    assert mine.map == pytest.approx(box.map, abs=tolerance)
    assert mine.precision == pytest.approx(box.mp, abs=tolerance)
    assert mine.recall == pytest.approx(box.mr, abs=tolerance)
    assert list(mine.per_class) == [names[int(k)] for k in box.ap_class_index]
    for i, figures in enumerate(mine.per_class.values()):
        kinds = ("precision", "recall", "mAP50", "mAP50-95")
        wanted = dict(zip(kinds, box.class_result(i), strict=True))
        assert {k: figures[k] for k in wanted} == pytest.approx(wanted, abs=tolerance)
        assert figures["boxes"] == theirs.nt_per_class[box.ap_class_index[i]]


@pytest.mark.parametrize("imgsz", [64, 96])
def test_it_counts_as_ultralytics_does_whatever_is_right_and_wrong(data, imgsz, tmp_path):
    network = Knows(data, imgsz)
    theirs = ultralytics_metrics(network, data, imgsz, tmp_path)
    mine = evaluate(Detector(None, network, "detect", data.names, imgsz), data)
    assert 0.1 < mine.map < mine.map50 < 0.95, "the comparison would show nothing"
    assert_equal(mine, theirs, data.names, 1e-6)


@pytest.mark.parametrize(
    ("architecture", "nms"), [("yolo26n", True), ("yolo26n", False), ("yolov8n", True)]
)
def test_a_real_network_gets_the_same_figures_from_either(data, architecture, nms, tmp_path):
    one = detector(architecture)
    theirs = ultralytics_metrics(one.model, data, 64, tmp_path, nms=None if nms else False)
    mine = evaluate(one, data, imgsz=64, nms=nms)
    assert mine.map50 > 0
    assert_equal(mine, theirs, data.names, 1e-3)  # Ultralytics fuses convolutions first


@pytest.mark.parametrize("most", [5, 20, 300])
def test_many_candidates_are_thinned_out_exactly(data, most, monkeypatch):
    """Few are looked at first: what is found is what looking at all of them finds."""
    network = Knows(data, 64)
    _, images = next(samples(data, imgsz=64).batches())
    asked = {"confidence": 0.001, "iou": 0.5, "most": most}
    whole = run(network, images, **asked)
    monkeypatch.setattr(evaluation, "FEW", 12)
    for mine, wanted in zip(run(network, images, **asked), whole, strict=True):
        assert torch.equal(mine, wanted)
        assert len(wanted) == 5 or most > 5


def test_which_head_is_measured_makes_a_difference(data):
    one = detector()
    assert evaluate(one, data, imgsz=64).map50 != evaluate(one, data, imgsz=64, nms=False).map50


def test_nothing_is_written_and_nothing_changed(data):
    one = detector()
    one.model.train()
    before = {name: tensor.clone() for name, tensor in one.tensors.items()}
    files = sorted(data.yaml.parent.rglob("*"))
    evaluate(one, data, imgsz=64)
    assert all(torch.equal(before[name], tensor) for name, tensor in one.tensors.items())
    assert one.model.training
    assert all(module.training for module in one.model.modules())
    assert sorted(data.yaml.parent.rglob("*")) == files
    one.model.eval()


def test_images_are_read_once(data, monkeypatch):
    first = samples(data, imgsz=64)
    monkeypatch.setattr("ultralytics.utils.patches.imread", None)
    assert samples(data, imgsz=64) is first


def test_a_limit_takes_images_evenly(data):
    assert [p.name for p in samples(data, imgsz=64, limit=4).files] == [
        data.val[k].name for k in (0, 3, 6, 9)
    ]
    assert samples(data, imgsz=64, limit=100).files == data.val


def test_many_images_are_read_batch_by_batch(data, monkeypatch):
    whole = torch.cat([images for _, images in samples(data, imgsz=64).batches()])
    monkeypatch.setattr(evaluation, "KEPT_BYTES", 1)
    monkeypatch.setattr(evaluation, "_kept", {})
    streamed = samples(data, imgsz=64)
    assert streamed._images is None
    assert torch.equal(torch.cat([images for _, images in streamed.batches(5)]), whole)


def test_the_boxes_lie_on_what_they_are_around(data):
    known = samples(data, imgsz=64)
    (image,) = [images[0] for first, images in known.batches() if first == 0]
    for (left, top, right, bottom), kind in zip(
        known.boxes[0].round().int().tolist(), known.classes[0].tolist(), strict=True
    ):
        assert 0 <= left < right <= 64
        assert 0 <= top < bottom <= 64
        brightness = image[:, top:bottom, left:right].float().mean()
        assert brightness > 90, (kind, brightness)


def test_labels_without_a_detection_and_detections_without_a_label():
    nothing = summarize(
        np.zeros((0, 10), bool), np.zeros(0), np.zeros(0), np.array([1.0]), {1: "b"}
    )
    assert (nothing["map50"], nothing["recall"]) == (0, 0)
    assert nothing["per_class"]["b"]["boxes"] == 1
    unlabelled = summarize(np.zeros((1, 10), bool), np.ones(1), np.zeros(1), np.zeros(0), {0: "a"})
    assert math.isnan(unlabelled["map50"])
    assert unlabelled["per_class"] == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "test"}, "choose train or val"),
        ({"imgsz": 100}, "multiple of 32"),
        ({"limit": 0}, "choose 1 or more"),
    ],
)
def test_a_slip_is_answered(data, given, said):
    with pytest.raises(LabError, match=said):
        evaluate(detector(), data, **{"imgsz": 64} | given)


def test_other_classes_and_other_tasks_are_refused(data):
    one = detector()
    other = replace(one, names={0: "cat", 1: "dog", 2: "cow"})
    with pytest.raises(LabError, match="cat, dog"):
        evaluate(other, data, imgsz=64)
    with pytest.raises(LabError, match="80 classes"):
        evaluate(detector(classes=80), data, imgsz=64)
    with pytest.raises(LabError, match="for pose"):
        evaluate(replace(one, task="pose"), data, imgsz=64)
    assert len(NAMES) == 3
