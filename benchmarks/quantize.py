"""The chosen artifact beside Ultralytics' own int8 export, the best fp32 runtime, and the clock.

All files run in turn, each in a process of its own with all cores, one image at a time.
Ultralytics' export is taken twice: as it comes, with the head that needs non-maximum
suppression (which is not timed here, in its favour), and with the end-to-end head that all
candidates of the search have. Accuracy is measured on 400 images, drawn for it where the data are
a set that labkit draws: its own 32 are too few to tell recipes apart.

    BENCH_QUANTIZE="weights=/my/best.safetensors data=cells" python -m benchmarks quantize
"""

from __future__ import annotations

import os
import shlex
import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.deploy.runtimes.process import Worker

ROUNDS, BURST = 20, 10
THAN_STOCK, THAN_FLOAT, SIZE, DROP, SECONDS = 2.5, 1.4, 0.30, 0.01, 300
STOCK, STOCK_SAME = "Ultralytics int8", "Ultralytics int8, end-to-end"
OURS = "chosen"
IMAGES, SEED = 400, 1000  # that accuracy is measured on; how their seed differs from the set's
EPOCHS = 10  # of a fine-tuning on the data, where no weights are given


def rows() -> list[Row]:
    """Speed, size and accuracy against both peers, and how long the search takes."""
    from labkit.deploy import search
    from labkit.deploy.verdict import best_float

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        weights, data = _asked(place)
        choice = search(weights, data, max_drop=DROP, on_progress=lambda what: None)
        print(f"{choice.table()!r}\n{choice.verdict}", flush=True)
        floating = best_float(choice)
        assert choice.chosen is not None
        assert floating is not None
        stock = {
            STOCK: _stock(weights, data, place / "stock", None),
            STOCK_SAME: _stock(weights, data, place / "same", False),
        }
        files = {
            OURS: (choice.chosen.candidate, str(choice.chosen.files[0])),
            "fp32": (floating.candidate, str(floating.files[0])),
            **{name: (None, str(file)) for name, file in stock.items()},
        }
        times = _timed(files, choice.about["imgsz"], weights, data, place)
        found = _judged(files, weights, _judges(data, place))
    for name, ms in times.items():
        print(f"  {name}: {statistics.median(ms):.2f} ms", flush=True)
    for name, metrics in found.items():
        print(f"  {name}: mAP50 {metrics.map50:.3f}, mAP50-95 {metrics.map:.3f}", flush=True)
    ours = choice.chosen
    figures = f"{statistics.median(times[OURS]):.2f} ms, mAP50-95 {found[OURS].map:.4f}"
    result = []
    for name in stock:
        ratio = median_ratio(times[name], times[OURS])
        result.append(
            Row(
                f"{ours.name}, times as fast as {name}",
                figures,
                f"{statistics.median(times[name]):.2f} ms, mAP50-95 {found[name].map:.4f}",
                ratio,
                f"≥ {THAN_STOCK}, mAP no lower",
                ratio >= THAN_STOCK and found[OURS].map >= found[name].map,
            )
        )
    ratio, share = median_ratio(times["fp32"], times[OURS]), ours.size / floating.size
    result.append(
        Row(
            f"{ours.name}, times as fast as {floating.name}",
            f"{figures}, {share:.2f} of its size",
            f"{statistics.median(times['fp32']):.2f} ms, mAP50-95 {found['fp32'].map:.4f}",
            ratio,
            f"≥ {THAN_FLOAT}, size ≤ {SIZE}, mAP at most {DROP} lower",
            ratio >= THAN_FLOAT and share <= SIZE and found[OURS].map >= found["fp32"].map - DROP,
        )
    )
    seconds = choice.about["seconds"]
    what = f"search, {len(choice.rows)} candidates"
    result.append(Row(what, f"{seconds:.0f} s", "", None, f"≤ {SECONDS} s", seconds <= SECONDS))
    return result


def _asked(folder: Path) -> tuple[Any, Any]:
    """Weights and data: those that were asked for, else the starter fine-tuned on drawn cells."""
    from labkit.vision.data import open_data
    from labkit.vision.detector import open_detector

    text = os.environ.get("BENCH_QUANTIZE", "")
    asked = dict(part.split("=", 1) for part in shlex.split(text))
    data = open_data(asked.get("data", "cells"))
    if "weights" in asked:
        return open_detector(asked["weights"]), data
    from labkit.vision.finetuning import FineTune, finetune

    run = finetune(FineTune(data=str(data.yaml), epochs=EPOCHS), folder=folder / "run")
    return open_detector(run.best), data


def _stock(detector: Any, data: Any, folder: Path, nms: bool | None) -> Path:
    """`YOLO(…).export(format="onnx", quantize=8)`; with `nms=False` the end-to-end head."""
    import torch

    from labkit.core.ultralytics import silent, ultralytics

    ultralytics()
    from ultralytics import YOLO

    folder.mkdir()
    torch.save({"model": detector.model, "train_args": {}, "epoch": -1}, folder / "start.pt")
    head = {} if nms is None else {"nms": nms}
    with silent():
        yolo = YOLO(folder / "start.pt")
        file = yolo.export(
            format="onnx", quantize=8, imgsz=detector.imgsz, data=str(data.yaml), **head
        )
    return Path(file)


def _timed(
    files: dict[str, Any], imgsz: int, detector: Any, data: Any, folder: Path
) -> dict[str, list[float]]:
    """Milliseconds of each file, the median of a burst in every round."""
    from labkit.vision.evaluation import samples

    known = samples(data, imgsz=imgsz, limit=8)
    images = folder / "images.npy"
    np.save(images, np.concatenate([images.numpy() for _, images in known.batches()]))
    with ExitStack() as stack:
        workers = {}
        for name, (candidate, file) in files.items():
            task = {
                "runtime": candidate.runtime if candidate else "onnxruntime",
                "options": dict(candidate.options) if candidate else {},
                "file": file,
                "validation": str(images),
            }
            worker = stack.enter_context(Worker(task, folder / "log.txt"))
            worker.ask("open", timeout=120, threads=os.cpu_count())
            workers[name] = worker

        def burst(name: str) -> float:
            return statistics.median(workers[name].ask("time", timeout=120, count=BURST, warm=3))

        return interleaved({name: partial(burst, name) for name in workers}, ROUNDS)


def _judges(data: Any, folder: Path) -> Any:
    """Images to measure accuracy on: many more of a drawn set, which no search has seen."""
    from labkit.vision.data import open_data
    from labkit.vision.synthetic.drawn import export
    from labkit.vision.synthetic.sets import SETS
    from labkit.vision.synthetic.sets import SIZE as SIDE

    if data.name not in SETS:
        return data
    drawn = SETS[data.name]
    module, counts = drawn.load(), {"train": 1, "val": IMAGES}
    seed = drawn.seed + SEED
    return open_data(export(module.draw, module.NAMES, folder / "judges", counts, SIDE, seed))


def _judged(files: dict[str, Any], detector: Any, data: Any) -> dict[str, Any]:
    """What each file finds, with Ultralytics' suppression where it has none."""
    import torch

    from labkit.core.ultralytics import ultralytics
    from labkit.deploy.runtimes.sessions import open_session
    from labkit.deploy.runtimes.truth import Truth
    from labkit.vision.evaluation import samples

    ultralytics()
    from ultralytics.utils.nms import non_max_suppression

    known = samples(data, imgsz=detector.imgsz)
    truth = Truth.of(known, detector.names)
    measured = {}
    for name, (candidate, file) in files.items():
        session = open_session(
            candidate.runtime if candidate else "onnxruntime",
            file,
            threads=os.cpu_count() or 1,
            options=candidate.options if candidate else {},
        )
        found = []
        for _, images in known.batches(1):
            out = session(images.numpy().astype(np.float32) / 255)
            if out.shape[-1] == 6:
                found.append(out[0])
            else:
                kept = non_max_suppression(torch.from_numpy(out), 0.001, 0.7, multi_label=True)
                found.append(kept[0].numpy())
        measured[name] = truth.metrics(found)
    return measured
