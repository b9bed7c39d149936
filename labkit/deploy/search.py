"""search: build every candidate, measure all of them on this machine, choose one.

One process builds a candidate, another one runs it: what crashes, hangs or cannot be exported
is a row that says so. Building may use all cores at once; measuring is one thing at a time.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from labkit.core.errors import LabError
from labkit.deploy.building import SEEN, Building
from labkit.deploy.candidates import Candidate, chosen, control, default_candidates
from labkit.deploy.choice import Choice, Measured, choose
from labkit.deploy.coverage import FEW, Reach, compare
from labkit.deploy.latency import BURST, ROUNDS
from labkit.deploy.machine import computes_in_bfloat16, machine
from labkit.deploy.request import CALIBRATION_IMAGES, Asked, check
from labkit.deploy.running import REFERENCE, Running
from labkit.deploy.runtimes.calibration import read_ranges
from labkit.vision.data import DataSet

SENSITIVE_LAYERS = 3  # that mixed precision leaves in float

OnProgress = Callable[[str], None]
Wanted = Collection[str | Candidate] | None


def search(
    weights: Any,
    data: str | os.PathLike[str] | DataSet,
    *,
    target: str = "latency",
    max_drop: float = 0.01,
    imgsz: int | None = None,
    candidates: Wanted = None,
    calibration: str | os.PathLike[str] | DataSet | None = None,
    calibration_images: int = CALIBRATION_IMAGES,
    limit: int | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    burst: int = BURST,
    timeout: float = 180.0,
    on_progress: OnProgress | None = None,
) -> Choice:
    """Find the file to deploy on this machine: the fastest or smallest that is right enough.

    Networks with two heads (YOLO26) are exported and measured with the end-to-end one; what has
    one head gets non-maximum suppression into its graph.

    Args:
        weights: a detector, or anything that `labkit.vision.open_detector` takes.
        data: a data set with the detector's classes: calibration sees its training images,
            accuracy is measured on its validation images.
        target: "latency" or "size".
        max_drop: of mAP50-95 against the network in fp32, absolute.
        imgsz: the side of the images in pixels; the detector's own by default.
        candidates: names of candidates or runtimes (`deploy.default_candidates`), and
            candidates of your own; all by default. PyTorch in fp32, which the drop is counted
            from, is always among them.
        calibration: another data set to calibrate with; its labels are not used.
        calibration_images: how many.
        limit: of validation images; all by default.
        threads: what "all threads" is; as many as there are cores by default.
        rounds, burst: of the interleaved timing: `rounds` times `burst` images.
        timeout: seconds that building one candidate may take.
        on_progress: told what is being done.

    Raises:
        LabError: before any work: weights that are no detector of boxes, other classes than the
            data's, an image size, target or name that does not exist.
        FileError: a file that cannot be read.
    """
    began = time.perf_counter()
    asked = check(weights, data, target, max_drop, imgsz, calibration, calibration_images,
                     limit, threads)  # fmt: skip
    tell = on_progress or (lambda _: None)
    folder = tempfile.TemporaryDirectory(prefix="labkit-quantize-")
    try:
        building = Building(asked, Path(folder.name), timeout, tell)
        listed = _with_control(_candidates(asked, candidates, tell), building)
        rows = Running(building, building.build(listed), rounds, burst).run()
    except BaseException:
        folder.cleanup()
        raise
    reference = _reference(rows)
    return Choice(
        rows=tuple(rows),
        chosen=choose(rows, reference, target, max_drop),
        reference=reference,
        target=target,
        max_drop=max_drop,
        threads=asked.threads,
        machine=machine(),
        about=asked.about(time.perf_counter() - began),
        reach=_reach(building),
        notes=tuple(_notes(asked, rows)),
        folder=folder,
    )


# --- which candidates ------------------------------------------------------------------


def _candidates(asked: Asked, wanted: Wanted, tell: OnProgress) -> list[Candidate]:
    """What was asked for, and the network in fp32."""
    import torch

    if isinstance(wanted, str):
        wanted = (wanted,)
    own = [one for one in wanted or () if isinstance(one, Candidate)]
    names = None if wanted is None else [one for one in wanted if not isinstance(one, Candidate)]
    able = {"bf16": computes_in_bfloat16(), "nvidia": torch.cuda.is_available()}
    every = default_candidates(sensitive=("any",), **able)
    picked = {REFERENCE, *(one.name for one in chosen(every, names))}
    sensitive = _sensitive(asked, tell) if "ONNX Runtime mixed" in picked else []
    known = default_candidates(sensitive=sensitive, **able)
    picked -= {one.name for one in own}
    return [*(one for one in known if one.name in picked), *own]


def _sensitive(asked: Asked, tell: OnProgress) -> list[str]:
    """The layers that lose most when they alone are quantized, by the error at the outputs."""
    from labkit.quantize.activations import calibrate
    from labkit.quantize.sensitivity import sensitivity

    tell("looking for sensitive layers")
    try:
        seen = calibrate(asked.detector, asked.data, imgsz=asked.imgsz)
        found = sensitivity(
            asked.detector, asked.data, activations=seen, measure_map=False, head=False,
            imgsz=asked.imgsz, nms=False,
        )  # fmt: skip
    except LabError:  # a network without the logits that are compared
        return []
    return [layer.name for layer in found.ranked()[:SENSITIVE_LAYERS]]


def _with_control(listed: list[Candidate], building: Building) -> list[Candidate]:
    """Where calibration is poor, one recipe more, with good calibration: what it costs."""
    asked = building.asked
    plain = next((one for one in listed if one.builder == "onnx-int8"), None)
    if plain is None or not asked.doubtful:
        return listed
    building.add_images("own", asked.control())
    return [*listed, control(plain, asked.data.name)]


# --- what to know ----------------------------------------------------------------------


def _reference(rows: Sequence[Measured]) -> Measured | None:
    """The network in PyTorch; where that cannot run, what is best of the others in fp32."""
    plain = [row for row in rows if row.candidate.precision == "fp32" and row.map is not None]
    return max(plain, key=lambda row: (row.name == REFERENCE, row.map), default=None)


def _reach(building: Building) -> Reach | None:
    """Ranges of the calibration images beside those of the validation images."""
    ours, theirs = building.ranges("min-max"), building.ranges(SEEN)
    if ours is None or theirs is None:
        return None
    ranges = read_ranges(ours), read_ranges(theirs)
    asked = building.asked
    return compare(*ranges, len(asked.calibrating), asked.calibration.name)


def _notes(asked: Asked, rows: Sequence[Measured]) -> Iterator[str]:
    """Warnings about calibration, with what they mean for the result."""
    count = len(asked.calibrating)
    if all(row.candidate.is_float for row in rows):
        return
    if count < FEW:
        images = "images" if count > 1 else "image"
        yield (
            f"Only {count} calibration {images}: below {FEW} the ranges of "
            "activations still grow with every image, and what is beyond them is cut off."
        )
    if asked.foreign:
        yield (
            f"Calibrated on {asked.calibration.name}, measured on {asked.data.name}: another "
            "domain has other ranges."
        )
    found = {row.name: row for row in rows}
    for row in rows:
        plain = found.get(row.name.removesuffix(", control"))
        if row.candidate.control and plain and plain.map is not None and row.map is not None:
            yield (
                f"What it does to the result: {plain.name} has mAP50-95 {plain.map:.3f}; the "
                f"same recipe {row.candidate.why} has {row.map:.3f}."
            )
