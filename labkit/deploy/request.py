"""The request for a search: weights, data and limits, checked and read before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from labkit.core.errors import LabError, unknown
from labkit.deploy.choice import TARGETS
from labkit.deploy.coverage import FEW
from labkit.vision.data import DataSet, open_data
from labkit.vision.detector import Detector, open_detector
from labkit.vision.evaluation import Samples, same_classes, samples

CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class SearchRequest:
    """What to search, checked and read.

    Attributes:
        detector: whose weights are built into every candidate.
        data, calibration: the data sets for accuracy and for calibration; often the same.
        imgsz: the side of the images in pixels.
        threads: how many "all threads" are.
        max_drop: of mAP50-95, absolute.
        validation: the images that accuracy is measured on.
        calibrating: the images that activations are calibrated with.
    """

    detector: Detector
    data: DataSet
    calibration: DataSet
    imgsz: int
    threads: int
    max_drop: float
    validation: Samples
    calibrating: Samples

    @property
    def foreign(self) -> bool:
        """Whether calibration uses other data than accuracy."""
        return self.calibration.sha256 != self.data.sha256

    @property
    def doubtful(self) -> bool:
        """Whether a better calibration is possible with the images at hand."""
        more = min(len(self.data.train), CALIBRATION_IMAGES) > len(self.calibrating)
        return self.foreign or (len(self.calibrating) < FEW and more)

    def control(self) -> Samples:
        """Training images of the data itself, as many as a search takes by default."""
        return samples(self.data, split="train", limit=CALIBRATION_IMAGES, imgsz=self.imgsz)

    def about(self, seconds: float) -> dict[str, Any]:
        """What was searched, as JSON values."""
        weights = self.detector.weights
        return {
            "weights": self.detector.name,
            "weights_sha256": weights.sha256,
            "data": self.data.name,
            "data_sha256": self.data.sha256,
            "validation_images": len(self.validation),
            "calibration": self.calibration.name,
            "calibration_sha256": self.calibration.sha256,
            "calibration_images": len(self.calibrating),
            "imgsz": self.imgsz,
            "names": {str(k): name for k, name in self.detector.names.items()},
            "seconds": round(seconds, 1),
        }


def read_request(
    weights: Any,
    data: Any,
    target: str,
    max_drop: float,
    imgsz: int | None,
    calibration: Any,
    calibration_images: int,
    limit: int | None,
    threads: int | None,
) -> SearchRequest:
    """Check the arguments, read weights and data. See `labkit.deploy.search`, errors too."""
    if target not in TARGETS:
        raise LabError(unknown("target", target, TARGETS))
    if not 0 <= max_drop <= 1:
        raise LabError(f"max_drop={max_drop} is not a share of mAP: choose 0 to 1, such as 0.01.")
    if calibration_images < 1:
        raise LabError(f"calibration_images={calibration_images}: choose 1 or more, such as 64.")
    cores = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= cores:
        raise LabError(f"threads={threads} is out of range: this machine has {cores} cores.")
    detector = weights if isinstance(weights, Detector) else open_detector(weights)
    if detector.task != "detect":
        raise LabError(
            f"{detector.name} is for task {detector.task}: a search measures boxes, so it needs "
            "a detector (task detect)."
        )
    data_set = open_data(data)
    same_classes(detector, data_set)
    other = data_set if calibration is None else open_data(calibration)
    size = imgsz or detector.imgsz
    return SearchRequest(
        detector=detector,
        data=data_set,
        calibration=other,
        imgsz=size,
        threads=threads or cores,
        max_drop=max_drop,
        validation=samples(data_set, split="val", limit=limit, imgsz=size),
        calibrating=samples(other, split="train", limit=calibration_images, imgsz=size),
    )
