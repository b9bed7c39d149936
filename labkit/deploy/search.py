"""search: build every candidate, measure all of them on this machine, choose one.

One process builds a candidate, another one runs it: a candidate that crashes, hangs or cannot
be exported is a row that says so. Building may use all cores at once; measuring is one thing at
a time.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from labkit.core.errors import LabError
from labkit.deploy.building import VALIDATION, Building
from labkit.deploy.candidates import Candidate, chosen, control, default_candidates
from labkit.deploy.choice import Choice, Measured, choose
from labkit.deploy.coverage import FEW, RangeCoverage, compare
from labkit.deploy.latency import BURST, ROUNDS
from labkit.deploy.machine import computes_in_bfloat16, machine
from labkit.deploy.request import CALIBRATION_IMAGES, SearchRequest, read_request
from labkit.deploy.running import REFERENCE, Running
from labkit.deploy.runtimes.calibration import read_ranges
from labkit.deploy.verdict import verdict
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
    """Find the file to deploy on this machine: the fastest or smallest that is accurate enough.

    Networks with two heads (YOLO26) are exported and measured with the end-to-end one; a
    network with one head gets non-maximum suppression into its graph.

    Args:
        weights: a detector, or anything that `labkit.vision.open_detector` takes.
        data: a data set with the detector's classes: calibration uses its training images,
            accuracy is measured on its validation images.
        target: "latency" or "size".
        max_drop: of mAP50-95 against the network in fp32, absolute.
        imgsz: the side of the images in pixels; the detector's own by default.
        candidates: names of candidates or runtimes (`deploy.default_candidates`), and
            candidates of your own; all by default. PyTorch in fp32, which the drop is counted
            from, is always among them.
        calibration: another data set to calibrate with; its labels are not used.
        calibration_images: how many.
        limit: how many validation images; all by default.
        threads: how many "all threads" are; one for each core by default.
        rounds, burst: of the interleaved timing: `rounds` times `burst` images.
        timeout: seconds that building one candidate may take.
        on_progress: is called with what is being done, in a few words.

    Raises:
        LabError: before any work: weights that are no detector of boxes, other classes than the
            data's, an image size, target or name that does not exist.
        FileError: a file that cannot be read.
    """
    began = time.perf_counter()
    request = read_request(weights, data, target, max_drop, imgsz, calibration,
                           calibration_images, limit, threads)  # fmt: skip
    report = on_progress or (lambda _: None)
    folder = tempfile.TemporaryDirectory(prefix="labkit-quantize-")
    try:
        building = Building(request, Path(folder.name), timeout, report)
        listed = _with_control(_candidates(request, candidates, report), building)
        rows = Running(building, building.build(listed), rounds, burst).run()
    except BaseException:
        folder.cleanup()
        raise
    reference = _reference(rows)
    choice = Choice(
        rows=tuple(rows),
        chosen=choose(rows, reference, target, max_drop),
        reference=reference,
        target=target,
        max_drop=max_drop,
        threads=request.threads,
        machine=machine(),
        about=request.about(time.perf_counter() - began),
        coverage=_coverage(building),
        notes=tuple(_notes(request, rows)),
        folder=folder,
    )
    return dataclasses.replace(choice, verdict=verdict(choice))


# --- which candidates ------------------------------------------------------------------


def _candidates(request: SearchRequest, wanted: Wanted, report: OnProgress) -> list[Candidate]:
    """Those that are wanted, and the network in fp32."""
    import torch

    if isinstance(wanted, str):
        wanted = (wanted,)
    own = [one for one in wanted or () if isinstance(one, Candidate)]
    names = None if wanted is None else [one for one in wanted if not isinstance(one, Candidate)]
    able = {"bf16": computes_in_bfloat16(), "nvidia": torch.cuda.is_available()}
    every = default_candidates(sensitive=("any",), **able)
    picked = {REFERENCE, *(one.name for one in chosen(every, names))}
    sensitive = _sensitive(request, report) if "ONNX Runtime mixed" in picked else []
    known = default_candidates(sensitive=sensitive, **able)
    picked -= {one.name for one in own}
    return [*(one for one in known if one.name in picked), *own]


def _sensitive(request: SearchRequest, report: OnProgress) -> list[str]:
    """The layers with the most error at the outputs when they alone are quantized."""
    from labkit.quantize.activations import calibrate
    from labkit.quantize.sensitivity import sensitivity

    report("looking for sensitive layers")
    try:
        ranges = calibrate(request.detector, request.data, imgsz=request.imgsz)
        found = sensitivity(
            request.detector, request.data, activations=ranges, measure_map=False, head=False,
            imgsz=request.imgsz, nms=False,
        )  # fmt: skip
    except LabError:  # a network without the logits that are compared
        return []
    return [layer.name for layer in found.ranked()[:SENSITIVE_LAYERS]]


def _with_control(listed: list[Candidate], building: Building) -> list[Candidate]:
    """If calibration is poor, one candidate more with a good one, to show what it costs."""
    request = building.request
    plain = next((one for one in listed if one.builder == "onnx-int8"), None)
    if plain is None or not request.doubtful:
        return listed
    building.add_images("own", request.control())
    return [*listed, control(plain, request.data.name)]


# --- what to report --------------------------------------------------------------------


def _reference(rows: Sequence[Measured]) -> Measured | None:
    """The network in PyTorch; if that cannot run, the most accurate other one in fp32."""
    plain = [row for row in rows if row.candidate.precision == "fp32" and row.map is not None]
    return max(plain, key=lambda row: (row.name == REFERENCE, row.map), default=None)


def _coverage(building: Building) -> RangeCoverage | None:
    """Ranges of the calibration images beside those of the validation images."""
    ours, theirs = building.ranges("min-max"), building.ranges(VALIDATION)
    if ours is None or theirs is None:
        return None
    request = building.request
    images, source = len(request.calibrating), request.calibration.name
    return compare(read_ranges(ours), read_ranges(theirs), images, source)


def _notes(request: SearchRequest, rows: Sequence[Measured]) -> Iterator[str]:
    """Warnings about calibration, with what they mean for the result."""
    count = len(request.calibrating)
    if all(row.candidate.is_float for row in rows):
        return
    if count < FEW:
        images = "images" if count > 1 else "image"
        yield (
            f"Only {count} calibration {images}: below {FEW} the ranges of "
            "activations still grow with every image, and values beyond them are cut off."
        )
    if request.foreign:
        yield (
            f"Calibrated on {request.calibration.name}, measured on {request.data.name}: another "
            "domain has other ranges."
        )
    found = {row.name: row for row in rows}
    for row in rows:
        plain = found.get(row.name.removesuffix(", control"))
        if row.candidate.control and plain and plain.map is not None and row.map is not None:
            yield (
                f"What this costs: {plain.name} has mAP50-95 {plain.map:.3f}; the same settings "
                f"{row.candidate.why} give {row.map:.3f}."
            )
