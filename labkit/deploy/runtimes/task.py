"""What a worker works on: the task, as plain values, and pixels as networks read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Task:
    """What a worker works on; JSON values, because another process writes them.

    Attributes:
        weights: the detector's own file.
        base, tflite: the float ONNX and LiteRT files that others are made from.
        calibration, validation: `.npy` files of images, (n, 3, s, s) uint8.
        ranges: the folder of calibrated ranges.
        folder: where the candidate's files go.
        imgsz: the side of the images in pixels.
        runtime, builder, build_options, options: of the candidate
            (`labkit.deploy.candidates.Candidate`).
        accuracy: for builders that control it: the file of labels, the drop that is allowed.
        file: what the runtime opens.
    """

    weights: str = ""
    base: str = ""
    tflite: str = ""
    calibration: str = ""
    validation: str = ""
    ranges: str = ""
    folder: str = ""
    imgsz: int = 320
    runtime: str = ""
    builder: str = ""
    build_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, Any] = field(default_factory=dict)
    file: str = ""


def pixels(images: np.ndarray) -> np.ndarray:
    """What the networks read: (n, 3, s, s) float32 in 0 to 1, from uint8."""
    return images.astype(np.float32) / 255
