"""Breaking a detector: seconds per change in the panel, against Ultralytics' `model.val`.

Method: the starter weights, 20 drawn scenes at 320 px, noise in all layers, another amount
for each round. (a) `BreakPanel`: from the slider's move until both pictures are painted:
damage, detections on an image, mAP on the 20 images; (b) the naive way to the same two
answers: the damaged network to Ultralytics' predictor and its validator as they come
(`rect=False`, no plots), with the same damage done by the same code. Two threads where there
are two cores; interleaved rounds; the mAP of both is compared. The processor's time stands
beside the clock's: on a busy machine it is the fairer figure.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import tempfile
import time
from typing import Any

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.core.executors import SynchronousExecutor
from labkit.core.ultralytics import silent
from labkit.panels import BreakPanel
from labkit.vision import open_data, open_detector
from labkit.weights import Damage, perturbed

IMAGES, IMGSZ, ROUNDS = 20, 320, 7
LIMIT = 2.0  # seconds


def rows() -> list[Row]:
    """Seconds per change, the ratio, and how far apart the two mAPs are."""
    detector, data = open_detector("starter"), open_data("scenes")
    panel = BreakPanel(detector, data, limit=IMAGES, imgsz=IMGSZ, executor=SynchronousExecutor())
    amounts = itertools.cycle(0.02 * k for k in range(1, 16))
    now = {"amount": 0.0}
    found: dict[str, list[float]] = {"panel": [], "naive": []}
    busy: dict[str, list[float]] = {"panel": [], "naive": []}

    def live() -> float:
        now["amount"] = next(amounts)
        began, processor = time.perf_counter(), time.process_time()
        panel.amount_slider.value = now["amount"]
        elapsed = time.perf_counter() - began
        busy["panel"].append(time.process_time() - processor)
        found["panel"].append(panel.metrics.map50)
        return elapsed

    with tempfile.TemporaryDirectory() as folder:
        yaml = _subset(data, folder)
        picture = next(iter(panel.images.values()))

        def naive() -> float:
            with perturbed(detector.model, Damage("noise", now["amount"])):
                began, processor = time.perf_counter(), time.process_time()
                found["naive"].append(_stock(detector.model, yaml, picture, folder))
                busy["naive"].append(time.process_time() - processor)
                return time.perf_counter() - began

        figures = interleaved({"panel": live, "naive": naive}, ROUNDS)
    seconds = statistics.median(figures["panel"])
    ratio = median_ratio(figures["naive"], figures["panel"])
    apart = max(abs(a - b) for a, b in zip(found["panel"], found["naive"], strict=True))
    print(
        f"  processor: {statistics.median(busy['panel']):.2f} s, naive "
        f"{statistics.median(busy['naive']):.2f} s; mAP50 at most {apart:.1e} apart; "
        f"mAP50 of the damaged networks: {', '.join(f'{m:.3f}' for m in found['panel'])}",
        flush=True,
    )
    what = f"one change: damage, boxes, mAP on {IMAGES} images of {IMGSZ} px"
    return [
        Row(what, f"{seconds:.2f} s", "", None, f"at most {LIMIT:g} s", seconds <= LIMIT),
        Row(
            f"Ultralytics' predict and val / the panel (mAP50 apart by {apart:.0e})",
            f"{seconds:.2f} s",
            f"{statistics.median(figures['naive']):.2f} s",
            ratio,
            "more than 1, within 0.005",
            ratio > 1 and apart < 0.005,
        ),
    ]


def _subset(data: Any, folder: str) -> str:
    """A data set of the images that the panel measures on: Ultralytics takes no limit."""
    from pathlib import Path

    import yaml

    from labkit.vision.evaluation import samples

    listed = Path(folder, "val.txt")
    files = samples(data, limit=IMAGES, imgsz=IMGSZ).files
    listed.write_text("".join(f"{file}\n" for file in files))
    path = Path(folder, "data.yaml")
    path.write_text(
        yaml.safe_dump({"train": str(listed), "val": str(listed), "names": dict(data.names)})
    )
    return str(path)


def _stock(network: Any, yaml: str, picture: Any, folder: str) -> float:
    """mAP50 from Ultralytics' validator, after its predictor has looked at one image."""
    from ultralytics.models.yolo.detect import DetectionPredictor, DetectionValidator

    common = {"imgsz": IMGSZ, "device": "cpu", "rect": False, "verbose": False}
    with silent():
        predictor = DetectionPredictor(overrides={**common, "save": False})
        predictor(source=[picture[..., ::-1]], model=network)
        validator = DetectionValidator(
            args={**common, "data": yaml, "batch": 16, "plots": False, "project": folder}
        )
        validator(model=copy.deepcopy(network))
    return float(validator.metrics.box.map50)
