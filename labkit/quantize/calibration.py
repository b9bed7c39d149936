"""Calibration: how far every activation of a network reaches, seen on images."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

METHODS = {"min-max": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
PERCENTILE = 99.99  # of the values of a tensor that its range holds
OPTIONS: dict[str, dict[str, Any]] = {"percentile": {"CalibPercentile": PERCENTILE}}
FEW = 32  # below, ranges are seen to grow with every further image
BEYOND = 1.1  # a reach that calibration has missed by a tenth counts


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
    """Run a float ONNX file on images, and keep the range of each tensor.

    The file is the calibration cache of `onnxruntime.quantization.quantize_static`, so that
    all recipes of one method share one calibration.

    Raises:
        Exception: whatever ONNX Runtime raises.
    """
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


@dataclass(frozen=True)
class Reach:
    """How calibrated ranges fit the images that the detector is for.

    Attributes:
        images: how many were calibrated with.
        source: the data set they are of.
        tensors: activations that were compared.
        beyond: those that reach further than calibration has seen, by a tenth or more: what
            is beyond is cut off.
        idle: those that use less than half of their range: a bit or more is lost.
        worst: by how much the range of the worst tensor is too small, 1 for not at all.
        where: that tensor.
    """

    images: int
    source: str
    tensors: int
    beyond: int
    idle: int
    worst: float
    where: str

    def words(self) -> str:
        """What was found, in a sentence."""
        said = (
            f"calibrated on {self.images} images of {self.source}: {self.beyond} of "
            f"{self.tensors} activations reach further on the validation images"
        )
        if self.beyond:
            said += f" ({self.where} {self.worst:.1f} times as far)"
        return said + f", {self.idle} use less than half of their range"


def compare(
    calibrated: Mapping[str, tuple[float, float]],
    seen: Mapping[str, tuple[float, float]],
    images: int,
    source: str,
) -> Reach:
    """Ranges from calibration beside those on other images.

    Args:
        calibrated, seen: tensor -> lowest and highest value, as `read_ranges` gives them.
        images, source: what was calibrated with.
    """
    ratios = {
        name: _width(seen[name]) / _width(range_)
        for name, range_ in calibrated.items()
        if name in seen and _width(range_) > 0
    }
    where = max(ratios, key=lambda name: ratios[name], default="")
    return Reach(
        images=images,
        source=source,
        tensors=len(ratios),
        beyond=sum(ratio > BEYOND for ratio in ratios.values()),
        idle=sum(ratio < 0.5 for ratio in ratios.values()),
        worst=max(1.0, ratios.get(where, 1.0)),
        where=where,
    )


def _width(range_: tuple[float, float]) -> float:
    """A grid always holds zero, so a range does."""
    low, high = min(range_[0], 0.0), max(range_[1], 0.0)
    return high - low


def read_ranges(file: Path) -> dict[str, tuple[float, float]]:
    """Tensor -> lowest and highest value, from a file that `observe` has written."""
    from onnxruntime.quantization.quantize import load_tensors_data

    found = {}
    for name, data in load_tensors_data(file).items():
        low, high = (float(np.asarray(value).reshape(-1)[0]) for value in data.range_value)
        if math.isfinite(low) and math.isfinite(high):
            found[name] = (low, high)
    return found


def write_images(images: np.ndarray, to: Path) -> Path:
    """Images (n, 3, s, s) uint8 for workers to read."""
    np.save(to, images)
    return to
