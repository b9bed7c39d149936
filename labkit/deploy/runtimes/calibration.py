"""Calibration: the range of every activation of a network, measured on images."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from labkit.core.telemetry import no_telemetry

METHODS = {"min-max": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
PERCENTILE = 99.99  # share of a tensor's values, in percent, that its range contains
OPTIONS: dict[str, dict[str, Any]] = {"percentile": {"CalibPercentile": PERCENTILE}}


class Images:
    """Calibration images for ONNX Runtime: its `CalibrationDataReader`, one image at a time."""

    def __init__(self, file: Path, name: str) -> None:
        self._images, self._name = np.load(file, mmap_mode="r"), name
        self._left: Iterator[int] = iter(range(len(self._images)))

    def __len__(self) -> int:
        return len(self._images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image by the input's name, or None after the last one."""
        k = next(self._left, None)
        if k is None:
            return None
        return {self._name: self._images[k : k + 1].astype(np.float32) / 255}

    def __iter__(self) -> Images:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        if (found := self.get_next()) is None:
            raise StopIteration
        return found


def observe(model: Path, images: Path, method: str, to: Path) -> None:
    """Run a float ONNX file on images, and write the range of each tensor.

    The file is the calibration cache of `onnxruntime.quantization.quantize_static`, so that
    all candidates with the same method share one calibration.

    Args:
        model: the float file.
        images: a `.npy` file, (n, 3, s, s) uint8.
        method: a name in `METHODS`.
        to: the file to write.

    Raises:
        Exception: whatever ONNX Runtime raises.
    """
    no_telemetry()
    import onnx
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator
    from onnxruntime.quantization.quantize import save_tensors_data

    name = onnx.load(model).graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder, "model.onnx")  # ONNX Runtime writes files of its own beside it
        shutil.copyfile(model, own)
        calibrator = create_calibrator(
            own,
            None,  # all operators
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod[METHODS[method]],
            extra_options={"percentile": PERCENTILE} if method == "percentile" else {},
        )
        calibrator.collect_data(Images(images, name))
        save_tensors_data(calibrator.compute_data(), to)


def read_ranges(file: Path) -> dict[str, tuple[float, float]]:
    """Tensor -> lowest and highest value, from a file that `observe` has written."""
    no_telemetry()
    from onnxruntime.quantization.quantize import load_tensors_data

    found = {}
    for name, data in load_tensors_data(file).items():
        low, high = (float(np.asarray(value).reshape(-1)[0]) for value in data.range_value)
        if math.isfinite(low) and math.isfinite(high):
            found[name] = (low, high)
    return found
