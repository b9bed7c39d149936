"""Records that a fine-tuning run reports while it runs, and the result it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.core.errors import LabError
from labkit.vision.finetuning.spec import FineTune

if TYPE_CHECKING:
    import numpy as np

    from labkit.training.findings import Finding
    from labkit.training.history import History
    from labkit.vision.finetuning.freezing import FreezeProof
    from labkit.vision.finetuning.transfer import Transfer


class GridRecord(NamedTuple):
    """Where a layer's float weights lie on the grid that training rounds them to.

    Attributes:
        layer: the one with the most weights.
        bits: of its grid.
        counts: weights by position, in `PARTS` parts of a step from the lowest level's lower
            end to the highest one's upper; those beyond are in the outermost.
        distance: mean distance to the nearest level, in steps: 0 on the grid, 0.25 by chance.
        moved: share of the weights that are rounded to another level than before the run.
    """

    layer: str
    bits: int
    counts: np.ndarray
    distance: float
    moved: float


PARTS = 8  # of a grid's step


class StepRecord(NamedTuple):
    """One optimizer step.

    Attributes:
        step: how many steps have been made, from 1, over all epochs.
        epoch: the epoch it belongs to, from 1.
        loss: the sum of `parts`: per image; of the one-to-one head where there are two.
        parts: `box`, `cls` and `dfl` (or `l1` for heads without bins), with their gains.
        lr: the learning rate that the optimizer used for weights.
        updates: layer ("0", "1", …, as in `model.0`) -> ‖Δw‖ / ‖w‖ of this step; None
            except at every `record_every`-th step. Frozen layers are at 0.
        steps: of the whole run.
        grid: with `updates`, of quantization-aware training.
    """

    step: int
    epoch: int
    loss: float
    parts: dict[str, float]
    lr: float
    updates: dict[str, float] | None
    steps: int
    grid: GridRecord | None = None


class EpochRecord(NamedTuple):
    """One complete epoch; number 0 is the detector before its first step.

    Attributes:
        epoch: its number.
        step: how many steps had been made at its end.
        loss: mean over the epoch's batches (NaN for epoch 0).
        parts: likewise.
        map50, map: mAP at IoU 0.5, and averaged over 0.5 to 0.95, on the validation split.
        precision, recall: there, at the confidence of the best F1.
        lr: at the epoch's last step.
        seconds: for training and evaluating it.
        best: whether it is the best so far.
        old_map50: mAP50 on the old data's validation split, with the old classes' rows of
            the head (see `labkit.vision.finetuning.old_task`); None without `remember`.
    """

    epoch: int
    step: int
    loss: float
    parts: dict[str, float]
    map50: float
    map: float
    precision: float
    recall: float
    lr: float
    seconds: float
    best: bool
    old_map50: float | None = None


@dataclass(frozen=True)
class Used:
    """The settings that the trainer really used, read back from its optimizer and dataloader.

    Attributes:
        optimizer: the class name, such as `AdamW`.
        lr: of weights, at the top of the schedule.
        momentum: momentum, or beta1; None where the optimizer has none.
        betas: of Adam and its variants, else None.
        weight_decay: of weights; biases and normalizations have none.
        schedule: `linear`, `cosine` or `constant`, with its end, in words.
        batch: images per step.
        steps: of the whole run.
        images: in the training split.
        parameters: trainable numbers.
        frozen_parameters: the others.
        device, precision, threads: where and how it ran.
        notes: what differs from the requested settings, in words.
    """

    optimizer: str
    lr: float
    momentum: float | None
    betas: tuple[float, float] | None
    weight_decay: float
    schedule: str
    batch: int
    steps: int
    images: int
    parameters: int
    frozen_parameters: int
    device: str
    precision: str
    threads: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FineTuned:
    """The result of a run.

    Attributes:
        spec: the settings that were requested.
        folder: the run's folder.
        best, last: safetensors files of the best epoch and of the last complete one.
        epochs: one record per complete epoch, the one before training first.
        history: losses, per-tensor statistics every few steps, snapshots.
        used: the settings that were really used.
        transfer: which tensors were copied, re-mapped, new.
        freeze: SHA-256 of every frozen tensor before and after.
        finding: what went wrong (see `labkit.vision.finetuning.diagnosis`), or None.
        stopped: whether it was stopped before its last epoch.
        names: the classes.
        seconds: of training and evaluating, all sessions together.
    """

    spec: FineTune
    folder: Path
    best: Path
    last: Path
    epochs: list[EpochRecord]
    history: History
    used: Used
    transfer: Transfer
    freeze: FreezeProof
    finding: Finding | None = None
    stopped: bool = False
    names: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best_epoch(self) -> EpochRecord:
        """The record of the epoch whose weights are in `best`."""
        return next(record for record in reversed(self.epochs) if record.best)

    @property
    def finished(self) -> bool:
        """Whether all epochs were run."""
        return self.epochs[-1].epoch == self.spec.epochs

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Epochs and values of one number of `EpochRecord`; the ones without it are left out.

        Raises:
            LabError: no such number.
        """
        numbers = [key for key in EpochRecord._fields if key not in ("parts", "best")]
        if name not in numbers:
            raise LabError(f"curve={name!r} is not known. Choose from {', '.join(numbers)}.")
        pairs = [(record.epoch, getattr(record, name)) for record in self.epochs]
        kept = [(epoch, value) for epoch, value in pairs if value is not None and value == value]
        return [epoch for epoch, _ in kept], [value for _, value in kept]

    def epochs_to(self, map50: float) -> int | None:
        """The first epoch that reached this mAP50; None if none did."""
        return next((record.epoch for record in self.epochs if record.map50 >= map50), None)

    def summary(self) -> dict[str, Any]:
        """A flat row for a results table."""
        best = self.best_epoch
        row: dict[str, Any] = {
            "epochs": self.epochs[-1].epoch,
            "best_epoch": best.epoch,
            "map50": best.map50,
            "map": best.map,
            "optimizer": self.used.optimizer,
            "lr": self.used.lr,
            "seconds": round(self.seconds, 1),
        }
        if best.old_map50 is not None:
            row["old_map50"] = best.old_map50
        if self.finding is not None:
            row["finding"] = self.finding.message
        return row
