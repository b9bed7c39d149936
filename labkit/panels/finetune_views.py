"""A fine-tuning run in pictures and words: its records, the status line, before and after."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labkit.core.formatting import rough_duration
from labkit.figures import Spec
from labkit.figures.finetuning import fine_tuning_curves, layer_updates
from labkit.figures.qat import weights_on_grid
from labkit.vision.finetuning.live_run import LiveRun
from labkit.vision.finetuning.spec import FineTune

if TYPE_CHECKING:
    from labkit.vision.finetuning.records import EpochRecord, FineTuned, StepRecord, Used

CONFIDENCE = 0.25
BESIDE = 250  # pixels: the height of three images in what the controls leave of the width


def curves(run: LiveRun | None, spec: FineTune) -> Spec:
    """The records of a run so far, as `fine_tuning_curves` takes them."""
    steps: Sequence[StepRecord] = list(run.steps) if run else []
    epochs: Sequence[EpochRecord] = list(run.epochs) if run else []
    names = list(steps[0].parts) if steps else ["box", "cls"]
    best = run.best if run else None
    return fine_tuning_curves.spec(
        np.array([record.step for record in steps]),
        {name: np.array([record.parts[name] for record in steps]) for name in names},
        np.array([record.lr for record in steps]),
        np.array([record.epoch for record in epochs]),
        {
            "mAP50": np.array([record.map50 for record in epochs]),
            "mAP50-95": np.array([record.map for record in epochs]),
        },
        steps_per_epoch=run.steps_per_epoch if run else 1,
        end=(run.spec if run else spec).epochs,
        best=best.epoch if best else None,
    )


def updates(run: LiveRun | None, spec: FineTune) -> Spec:
    """The updates of a run so far, as `layer_updates` takes them."""
    records = [record for record in list(run.steps) if record.updates] if run else []
    layers = list(records[0].updates or {}) if records else []
    return layer_updates.spec(
        np.array([record.step for record in records]),
        layers,
        np.array([[record.updates[name] for name in layers] for record in records]),  # type: ignore[index]
        steps_per_epoch=run.steps_per_epoch if run else 1,
        end=(run.spec if run else spec).epochs,
    )


def has_grid(run: LiveRun | None) -> bool:
    """Whether a run has reported where its weights are on a grid."""
    return run is not None and any(record.grid for record in list(run.steps))


def on_grid(run: LiveRun | None) -> Spec:
    """What a run has reported of its grid so far, as `weights_on_grid` takes it."""
    records = [record for record in list(run.steps) if record.grid] if run else []
    grids = [record.grid for record in records if record.grid]
    return weights_on_grid.spec(
        np.array([record.step for record in records]),
        [grid.counts for grid in grids],
        np.array([grid.distance for grid in grids]),
        np.array([grid.moved for grid in grids]),
        bits=grids[0].bits if grids else 8,
        layer=grids[0].layer if grids else "",
        end=records[-1].steps if records else None,
    )


def status(run: LiveRun | None, spec: FineTune) -> str:
    """The status line: state, epoch, step, loss, precision, time left."""
    if run is None:
        return f"<b>ready</b> · {spec.epochs} epochs of {html.escape(spec.data)}"
    parts = [f"<b>{run.state}</b>"]
    if run.state == "preparing":
        parts.append("drawing the data if it is not there yet, checking and decoding all of it")
    if run.steps:
        last = run.steps[-1]
        parts.append(f"epoch {last.epoch} of {run.spec.epochs}")
        parts.append(f"step {last.step:,} of {last.steps:,}")
        parts.append(f"loss {last.loss:.3g}")
    if run.epochs:
        now, best = run.epochs[-1], run.best
        text = f"mAP50 {now.map50:.3f}"
        if best is not None and best.epoch != now.epoch:
            text += f" (kept: {best.map50:.3f} of epoch {best.epoch})"
        parts.append(text)
    if run.state == "running" and math.isfinite(run.seconds_left):
        parts.append(f"about {rough_duration(run.seconds_left)} left")
    if run.result is not None:
        parts.append(f"weights in {html.escape(short(run.result.best))}")
    return " · ".join(parts)


def short(path: Path) -> str:
    """A path as people write it: from their home folder where it is there."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def used_words(used: Used) -> str:
    """One line: the settings read back from the trainer, and what differs from the controls."""
    parts = [
        used.optimizer,
        f"learning rate {used.lr:g} ({used.schedule})",
        f"weight decay {used.weight_decay:g}",
        f"{used.batch} of {used.images} images a step",
        f"{used.precision} on {used.device}",
    ]
    if used.frozen_parameters:
        whole = used.parameters + used.frozen_parameters
        parts.append(f"{used.frozen_parameters / whole:.0%} of the numbers frozen")
    return " · ".join(parts) + "".join(f". {note}" for note in used.notes).replace("..", ".")


def before_after(result: FineTuned, count: int, beside: bool) -> list[Spec]:
    """Validation images as labelled, as the first weights see them, and as the best ones do.

    Args:
        result: the run.
        count: how many images.
        beside: whether they stand beside the controls, where there is less room.
    """
    from labkit.figures.detections import detections
    from labkit.vision.data import open_data
    from labkit.vision.detector import open_detector, random_like
    from labkit.vision.example_images import examples, side_by_side

    spec = result.spec
    start = open_detector(spec.weights)
    detectors = {
        "before": start if spec.pretrained else random_like(start, spec.seed),
        "after": open_detector(result.best),
    }
    rows = side_by_side(
        examples(open_data(spec.data), count),
        detectors,
        imgsz=spec.image_size,
        confidence=CONFIDENCE,
    )
    height = BESIDE if beside else None
    return [detections.spec(row, words=False, height=height) for row in rows]
