"""Rows of a search that nobody has run, and choices among them."""

from __future__ import annotations

import dataclasses
from typing import Any

from labkit.deploy.candidates import Candidate
from labkit.deploy.choice import Choice, Measured, choose
from labkit.deploy.latency import Latency
from labkit.deploy.verdict import verdict


def row(
    name: str,
    ms: float | None,
    size: int,
    accuracy: float | None,
    precision: str = "int8",
    runtime: str = "onnxruntime",
    **more: Any,
) -> Measured:
    """A measured candidate; without milliseconds one that has failed."""
    timed = None if ms is None else Latency(ms, 2 * ms, 10)
    return Measured(
        Candidate(name, runtime, precision, "onnx"), size=size, latency=timed, map=accuracy, **more
    )


FLOAT = row("PyTorch fp32", 30, 1000, 0.70, "fp32", "torch")
FAST = row("fast", 10, 300, 0.699, stored=0.99, integer=100, weighted=100)
SMALL = row("small", 12, 200, 0.695, stored=0.99, integer=10, weighted=100)
WRONG = row("wrong", 5, 100, 0.5)
PLAIN = row("plain", 16, 1000, 0.70, "fp32")
BROKEN = row("broken", None, 0, None, problem="it fell over")

ABOUT = {
    "weights": "mine", "weights_sha256": "aa", "data": "cells", "data_sha256": "bb",
    "validation_images": 4, "calibration": "cells", "calibration_sha256": "bb",
    "calibration_images": 8, "imgsz": 64, "names": {"0": "cell", "1": "clump"},
}  # fmt: skip


def choice(*rows: Measured, **more: Any) -> Choice:
    """What a search would choose among rows, with its verdict."""
    plain = {"target": "latency", "max_drop": 0.01, "threads": 2, "machine": {}, "about": ABOUT}
    settings = {**plain, **more}
    best = choose(rows, FLOAT, settings["target"], settings["max_drop"])
    found = Choice(rows=rows, chosen=best, reference=FLOAT, **settings)
    return dataclasses.replace(found, verdict=verdict(found))
