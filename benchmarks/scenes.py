"""Drawing scenes, beside reading them back and augmenting them.

Method: `labkit.vision.synthetic.scenes` draws at 320 px, one thread, against Ultralytics'
training data set with its default augmentation reading the same scenes from JPEG files, also
one thread: what is drawn anew costs about what an epoch spends on what is on disk. Medians of
interleaved rounds. Below it the rate of a whole export in YOLO format, with all threads.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import cv2

from benchmarks.measure import Row, interleaved
from labkit.core.ultralytics import silent, ultralytics
from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import draw_one, export

SIZE, COUNT = 320, 64


def rows() -> list[Row]:
    """Milliseconds per image, and images per minute of an export."""
    ultralytics()
    from ultralytics.cfg import get_cfg
    from ultralytics.data.build import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    with tempfile.TemporaryDirectory() as folder, silent():
        began = time.perf_counter()
        path = export(scenes.draw, scenes.NAMES, Path(folder) / "set", {"train": 256, "val": 1})
        per_minute = 60 * 257 / (time.perf_counter() - began)
        data = check_det_dataset(str(path))
        arguments = get_cfg(overrides={"imgsz": SIZE, "task": "detect"})
        stored = build_yolo_dataset(arguments, data["train"], 16, data, mode="train")
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        number = 0

        def draw() -> float:
            nonlocal number
            number += COUNT
            began = time.perf_counter()
            for index in range(number, number + COUNT):
                draw_one(scenes.draw, 1, "train", index, SIZE)
            return (time.perf_counter() - began) / COUNT * 1e3

        def read() -> float:
            began = time.perf_counter()
            for index in range(COUNT):
                stored[index]
            return (time.perf_counter() - began) / COUNT * 1e3

        figures = interleaved({"drawn": draw, "read": read}, rounds=5)
        cv2.setNumThreads(threads)
    ours, peer = (statistics.median(figures[name]) for name in ("drawn", "read"))
    return [
        Row(
            "drawing a scene / reading and augmenting one",
            f"{ours:.1f} ms",
            f"{peer:.1f} ms",
            ours / peer,
            "at most 2",
            ours / peer <= 2,
        ),
        Row(
            "scenes drawn and written in a minute",
            f"{per_minute:,.0f}",
            "",
            per_minute / 3000,
            "at least 3,000",
            per_minute >= 3000,
        ),
    ]
