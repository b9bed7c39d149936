from __future__ import annotations

import pytest
import torch

from labkit.deploy.runtimes.truth import Truth
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
