"""From a detector to files that other runtimes read, with one head.

YOLO26 has two heads. Everything here runs the end-to-end one, which gives boxes without
non-maximum suppression; a network without it (YOLO11, say) gets the suppression into its
graph instead. So the output of every candidate is the same: (1, n, 6) boxes, scores, classes.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from torch import nn

CONFIDENCE, OVERLAP, MAX_BOXES = 0.001, 0.7, 300  # as in `labkit.vision.evaluate`


def end_to_end(network: Any) -> bool:
    """Whether a network has a head that needs no non-maximum suppression."""
    return getattr(network.model[-1], "one2one_cv2", None) is not None


def export_onnx(weights: str | os.PathLike[str], imgsz: int, to: Path) -> None:
    """Write a detector as ONNX, float32, one image at a time, by Ultralytics' own exporter.

    Raises:
        Exception: whatever the exporter raises.
    """
    write_onnx(_network(weights), imgsz, to)


def write_onnx(network: Any, imgsz: int, to: Path) -> None:
    """The same for a network, which the exporter copies.

    Raises:
        Exception: whatever the exporter raises.
    """
    from labkit.core.ultralytics import silent, ultralytics

    ultralytics()
    from ultralytics.engine.exporter import Exporter

    network.pt_path = str(to.with_suffix(".pt"))  # gives the file its name; it is never read
    with silent():
        exporter = Exporter(
            overrides={
                "format": "onnx",
                "imgsz": imgsz,
                "batch": 1,
                "simplify": True,
                "device": "cpu",
                **_head(network),
            }
        )
        written = exporter(network)
    if not written or Path(written) != to:
        raise RuntimeError("Ultralytics' exporter wrote no file")


def deployed(weights: str | os.PathLike[str]) -> nn.Module:
    """The network as it is exported: one head, BatchNorm folded; (1, n, 6) boxes of an image."""
    from labkit.core.ultralytics import silent, ultralytics

    ultralytics()
    from ultralytics.utils.nms import TorchNMS  # noqa: F401  (its import is not timed)

    network: Any = _network(weights)
    with silent():
        network.end2end = end_to_end(network)
        network = network.fuse(verbose=False)
    found = _EndToEnd(network) if network.end2end else _Suppressed(network)
    return found.eval()


class _EndToEnd(nn.Module):
    """A network whose boxes are final, without the features that it returns as well."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Any) -> Any:
        return self.network(image)[0]


class _Suppressed(nn.Module):
    """A network with one-to-many boxes, followed by non-maximum suppression."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Any) -> Any:
        from ultralytics.utils.nms import non_max_suppression

        found = self.network(image)
        boxes = found[0] if isinstance(found, tuple) else found
        rows = non_max_suppression(
            boxes.float(), CONFIDENCE, OVERLAP, multi_label=False, max_det=MAX_BOXES
        )
        return rows[0][None]


def _network(weights: str | os.PathLike[str]) -> Any:
    from labkit.vision.detector import open_detector

    return copy.deepcopy(open_detector(weights).model).float()


def _head(network: Any) -> dict[str, Any]:
    if end_to_end(network):
        return {"nms": False, "max_det": MAX_BOXES}
    return {"nms": True, "conf": CONFIDENCE, "iou": OVERLAP, "max_det": MAX_BOXES}
