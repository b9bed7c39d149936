from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.deploy.accuracy import Truth, agreement
from labkit.vision.detector import one_head
from labkit.vision.evaluation import evaluate, samples
from tests.vision import networks


def test_metrics_are_those_of_evaluate(tmp_path):
    data = networks.data_set(tmp_path)
    detector = networks.detector()
    wanted = evaluate(detector, data, imgsz=64, nms=False)
    known = samples(data, imgsz=64)
    network = one_head(detector.model, nms=False)
    found = []
    with torch.inference_mode():
        for _, images in known.batches():
            found += list(network(images.float() / 255)[0].numpy())
    truth = Truth.of(known, detector.names)
    truth.write(tmp_path / "truth.json")
    for one in (truth, Truth.read(tmp_path / "truth.json")):
        metrics = one.metrics(found)
        assert metrics.map50 == pytest.approx(wanted.map50, abs=1e-9)
        assert metrics.map == pytest.approx(wanted.map, abs=1e-9)
        assert one.map_of(lambda k: found[k]) == metrics.map


def rows(*boxes):
    return np.array(boxes, np.float32).reshape(-1, 6)


def test_agreement_is_the_share_of_boxes_in_common():
    a = rows((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.8, 1), (50, 50, 60, 60, 0.1, 0))
    moved = a + rows((1, 0, 1, 0, 0, 0), (9, 0, 9, 0, 0, 0), (0, 0, 0, 0, 0, 0))
    other = a.copy()
    other[:, 5] = 1 - other[:, 5]
    assert agreement([a], [a]) == 1.0
    assert agreement([a], [moved]) == 0.5  # IoU 9/11 is the same box, 1/19 another
    assert agreement([a], [other]) == 0.0
    assert agreement([a], [rows()]) == 0.0
    assert agreement([rows()], [rows()]) == 1.0
    assert agreement([a, a], [a, rows()]) == pytest.approx(4 / 6)


def test_a_box_agrees_with_one_other_only():
    one, twice = rows((0, 0, 10, 10, 0.9, 0)), rows(*[(0, 0, 10, 10, 0.9, 0)] * 2)
    assert agreement([one], [twice]) == pytest.approx(2 / 3)
