"""Networks as they are exported; the files themselves are looked at in `test_search.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import batched_nms, box_convert

from labkit.core.ultralytics import ultralytics
from labkit.deploy.runtimes.export import (
    CONFIDENCE,
    MAX_BOXES,
    OVERLAP,
    deployed,
    end_to_end,
    export_onnx,
)
from labkit.vision import open_detector
from labkit.vision.detector import one_head
from tests.vision.finetuning import tiny

KINDS = {"yolo26n": True, "yolo11n": False}  # whether it has an end-to-end head


@pytest.fixture(scope="module", params=KINDS)
def weights(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return request.param, tiny.weights(folder / "w.safetensors", architecture=request.param)


def image() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_whether_a_network_needs_suppression(weights):
    kind, file = weights
    assert end_to_end(open_detector(file).model) is KINDS[kind]


@torch.no_grad()
def test_boxes_scores_and_classes_are_those_of_the_network(weights):
    kind, file = weights
    network = deployed(file)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    (found,) = network(image())
    assert found.shape[-1] == 6
    plain = open_detector(file).model
    if KINDS[kind]:
        wanted = one_head(plain, nms=False)(image())[0][0]
    else:  # by hand, with torchvision's suppression
        every = plain(image())[0][0].T
        scores, classes = every[:, 4:].max(1)
        boxes = box_convert(every[:, :4], "cxcywh", "xyxy")
        good = scores > CONFIDENCE
        boxes, scores, classes = boxes[good], scores[good], classes[good]
        kept = batched_nms(boxes, scores, classes, OVERLAP)[:MAX_BOXES]
        assert 0 < len(kept) < len(boxes)
        wanted = torch.cat([boxes, scores[:, None], classes[:, None].float()], 1)[kept]
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found[:, 4], wanted[:, 4], atol=1e-5)


@pytest.mark.parametrize("written", ["", "/elsewhere/model.onnx"])
def test_an_exporter_that_writes_no_file_is_an_error(weights, monkeypatch, tmp_path, written):
    ultralytics()
    from ultralytics.engine import exporter

    kind, file = weights
    settings = {}

    class Exporter:
        def __init__(self, overrides):
            settings.update(overrides)

        def __call__(self, network):
            settings["name"] = network.pt_path
            return written

    monkeypatch.setattr(exporter, "Exporter", Exporter)
    with pytest.raises(RuntimeError, match="wrote no file"):
        export_onnx(file, 64, tmp_path / "base.onnx")
    assert settings["nms"] is not KINDS[kind]
    assert (settings["imgsz"], settings["batch"], settings["device"]) == (64, 1, "cpu")
    assert settings["name"] == str(tmp_path / "base.pt")
