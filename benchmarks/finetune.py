"""Fine-tuning through labkit beside `yolo train`: same data, settings and resulting mAP.

Each run is a process of its own; timed is what a person waits for after the imports, from
the call to its return. Ultralytics runs as it comes: it validates, plots, and leaves one
core idle. A second peer is given all cores. Both final weights are evaluated alike. The
processor's time is printed beside the clock's: on a busy machine it is the fairer figure.

    BENCH_FINETUNE="data=/my/data.yaml epochs=8" python -m benchmarks finetune
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.vision.finetuning.spec import FineTune

ROUNDS = 3
FASTER, RECORDING, SAME_MAP = 1.3, 0.03, 0.05
SPEC = "data=cells epochs=4 seed=0"
STOCK, AS_MANY, OURS = "yolo train", "yolo train, as many threads", "labkit"


def rows() -> list[Row]:
    """Speed against both peers, mAP beside theirs, and what recording costs."""
    spec = FineTune.from_text(os.environ.get("BENCH_FINETUNE", SPEC))
    told: dict[str, list[dict[str, float]]] = {STOCK: [], AS_MANY: [], OURS: []}

    def one(kind: str) -> float:
        told[kind].append(_child(kind, spec.replace(seed=spec.seed + len(told[kind]))))
        return told[kind][-1]["seconds"]

    figures = interleaved({kind: partial(one, kind) for kind in told}, ROUNDS)
    for kind, found in told.items():
        print(
            f"  {kind}: {_median(found, 'seconds'):.1f} s, processor "
            f"{_median(found, 'processor'):.1f} s, mAP50 {_median(found, 'map50'):.3f}, "
            f"mAP50-95 {_median(found, 'map'):.3f}",
            flush=True,
        )
    return [
        *(_speed(peer, figures, told) for peer in (STOCK, AS_MANY)),
        _recording(told[OURS]),
    ]


def _speed(
    peer: str, figures: dict[str, list[float]], told: dict[str, list[dict[str, float]]]
) -> Row:
    ratio = median_ratio(figures[peer], figures[OURS])
    mine, theirs = (_median(told[kind], "map50") for kind in (OURS, peer))
    return Row(
        f"fine-tuning, times as fast as {peer}",
        f"{statistics.median(figures[OURS]):.1f} s, mAP50 {mine:.3f}",
        f"{statistics.median(figures[peer]):.1f} s, mAP50 {theirs:.3f}",
        ratio,
        f"≥ {FASTER} at the same mAP50 (± {SAME_MAP})",
        ratio >= FASTER and mine >= theirs - SAME_MAP,
    )


def _recording(found: list[dict[str, float]]) -> Row:
    share = _median(found, "recording")
    return Row(
        "statistics of all tensors, share of a step",
        f"{share:.1%}",
        "",
        None,
        f"≤ {RECORDING:.0%}",
        share <= RECORDING,
    )


def _median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in found)


def _child(kind: str, spec: FineTune) -> dict[str, float]:
    """Run one of them in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        plain = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.finetune", kind, spec.to_text(), folder],
            capture_output=True,
            text=True,
            env={**plain, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"},
        )
    if ran.returncode:
        raise RuntimeError(f"{kind} failed: {ran.stderr[-2000:]}")
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


# --- in the child ----------------------------------------------------------------------


def ours(spec: FineTune, folder: Path) -> dict[str, float]:
    """`finetune`, its recorder timed."""
    import labkit.vision.finetuning.trainer  # noqa: F401  (its imports are not timed)
    from labkit.vision.data import open_data
    from labkit.vision.finetuning.recorder import DetectorRecorder
    from labkit.vision.finetuning.run import finetune

    open_data(spec.data)  # drawn where it was not there yet
    recording: list[float] = []
    steps: list[float] = []
    for name in ("before", "after"):
        timed = _timed(getattr(DetectorRecorder, name), recording)
        setattr(DetectorRecorder, name, timed)
    began = _clocks()
    out = finetune(spec, folder=folder / "run", on_step=lambda _: steps.append(time.perf_counter()))
    passed = _passed(began)
    gaps = [after - before for before, after in itertools.pairwise(steps)]
    calls = [a + b for a, b in zip(recording[::2], recording[1::2], strict=True)]
    share = statistics.median(calls) / spec.record_every / statistics.median(gaps)
    return {**passed, "recording": share, **_judge(out.last, spec)}


def stock(spec: FineTune, folder: Path, as_many: bool) -> dict[str, float]:
    """`YOLO(…).train(…)` with the same settings, from the same weights as a `.pt`."""
    import torch

    from labkit.core.threads import idle_cores
    from labkit.vision.data import open_data
    from labkit.vision.detector import open_detector
    from labkit.vision.finetuning.settings import settings

    data, start = open_data(spec.data), open_detector(spec.weights)
    model: Any = start.model
    model.requires_grad_(True)
    torch.save({"model": model, "train_args": {}, "epoch": -1}, folder / "start.pt")
    from ultralytics import YOLO
    from ultralytics.utils import torch_utils

    if as_many:
        torch_utils.NUM_THREADS = spec.threads or idle_cores()
    own = ("model", "data", "save_dir", "plots", "save", "val", "verbose", "patience", "mode")
    chosen = {k: v for k, v in settings(spec, folder).items() if k not in own}
    yolo = YOLO(folder / "start.pt")
    began = _clocks()
    yolo.train(data=str(data.yaml), project=str(folder), name="stock", patience=0, **chosen)
    passed = _passed(began)
    return {**passed, **_judge(folder / "stock" / "weights" / "last.pt", spec)}


def _judge(path: Path, spec: FineTune) -> dict[str, float]:
    from labkit.vision.data import open_data
    from labkit.vision.detector import open_detector
    from labkit.vision.evaluation import evaluate

    found = evaluate(open_detector(path), open_data(spec.data), imgsz=spec.image_size)
    return {"map50": found.map50, "map": found.map}


def _timed(real: Any, into: list[float]) -> Any:
    def timed(*args: Any) -> Any:
        began = time.perf_counter()
        result = real(*args)
        into.append(time.perf_counter() - began)
        return result

    return timed


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _passed(began: tuple[float, float]) -> dict[str, float]:
    now = _clocks()
    return {"seconds": now[0] - began[0], "processor": now[1] - began[1]}


def main(kind: str, text: str, folder: str) -> None:
    """What a child does: one run, one line of JSON."""
    spec, place = FineTune.from_text(text), Path(folder)
    ran = ours(spec, place) if kind == OURS else stock(spec, place, kind == AS_MANY)
    print(json.dumps(ran))


if __name__ == "__main__":
    main(*sys.argv[1:])
