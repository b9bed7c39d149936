"""A few images of a data set: as they are labelled, and as detectors see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labkit.core.errors import LabError
from labkit.vision.data import DataSet
from labkit.vision.detections import Detections, predict, read_image
from labkit.vision.detector import Detector

Row = dict[str, tuple[np.ndarray, Detections]]
"""Title -> image and what is on it, as `figures.detections` takes it."""


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes:
        name: of the file.
        image: (H, W, 3) uint8 RGB.
        labels: what is there, each with a score of 1.
    """

    name: str
    image: np.ndarray
    labels: Detections


def examples(data: DataSet, count: int = 3, split: str = "val") -> list[Example]:
    """Images of a split, evenly spaced over it, with their labels.

    Args:
        data: from `labkit.vision.open_data`.
        count: how many at the most.
        split: "train" or "val".

    Raises:
        LabError: another split.
        FileError: an image that cannot be read.
    """
    if split not in ("train", "val"):
        raise LabError(f"split={split!r} is not known: choose train or val")
    known = data.labelled(split)
    chosen = [known[k * len(known) // count] for k in range(count)] if count < len(known) else known
    return [
        Example(
            one.path.name,
            read_image(one.path),
            Detections(one.corners, np.ones(len(one.classes), np.float32), one.classes, data.names),
        )
        for one in chosen
    ]


def side_by_side(
    shown: Sequence[Example],
    detectors: Mapping[str, Detector],
    *,
    imgsz: int = 320,
    confidence: float = 0.25,
) -> list[Row]:
    """For each image what is labelled, and what each detector finds.

    Args:
        shown: from `examples`.
        detectors: by the title that they get.
        imgsz: pixels of the square that images are fitted into.
        confidence: the lowest score that counts as found.
    """
    images = [example.image for example in shown]
    known = shown[0].labels.names if shown else {}
    found = {
        title: [
            _beside(known, one)
            for one in predict(detector, images, imgsz=imgsz, confidence=confidence)
        ]
        for title, detector in detectors.items()
    }
    return [
        {"labelled": (example.image, example.labels)}
        | {title: (example.image, results[number]) for title, results in found.items()}
        for number, example in enumerate(shown)
    ]


def _beside(known: Mapping[int, str], found: Detections) -> Detections:
    """Classes with other names are numbered after those of the labels: other colours, too."""
    if found.names == known:
        return found
    first = len(known)
    names = {first + number: name for number, name in found.names.items()}
    return dataclasses.replace(found, classes=found.classes + first, names=names)
