"""A fine-tuning that trains nothing, for tests of what shows or steers one."""

from __future__ import annotations

from pathlib import Path

from labkit.training.findings import Finding
from labkit.vision.finetuning import EpochRecord, FineTune, FineTuned, StepRecord, Used

SPEC = FineTune(epochs=3, lr=0.004, record_every=1)
PER_EPOCH = 4
MAPS = (0.0, 0.4, 0.7, 0.6)


def used(spec: FineTune) -> Used:
    auto = spec.optimizer == "auto"
    return Used(
        optimizer="AdamW",
        lr=0.0011 if auto else spec.lr,
        momentum=0.9,
        betas=(0.9, 0.999),
        weight_decay=0.0005,
        schedule="linear to 0.01 of lr",
        batch=8,
        steps=spec.epochs * PER_EPOCH,
        images=64,
        parameters=75,
        frozen_parameters=25 if spec.freeze else 0,
        device="cpu",
        precision="bfloat16",
        threads=2,
        notes=tuple(spec.notes()),
    )


class FakeTraining:
    """In place of `finetune`: reports what a run would, and trains nothing.

    Attributes:
        specs: of the runs so far.
        finding: ends a run in its second epoch.
        at_step: called with the number of each step, before it is reported.
    """

    def __init__(self) -> None:
        self.specs: list[FineTune] = []
        self.finding: Finding | None = None
        self.at_step = lambda number: None

    def __call__(self, spec, *, stop, on_start, on_step, on_epoch) -> FineTuned:
        self.specs.append(spec)
        on_start(used(spec))
        epochs = [self.epoch(0)]
        on_epoch(epochs[0])
        stopped = False
        for number in range(1, spec.epochs * PER_EPOCH + 1):
            self.at_step(number)
            stopped = stop.is_set()
            if stopped or (self.finding and number > PER_EPOCH):
                break
            parts = {"box": 2.0 / number, "cls": 1.0}
            moved = {"0": 0.0, "1": 1e-3} if number % spec.record_every == 0 else None
            steps = spec.epochs * PER_EPOCH
            epoch = (number - 1) // PER_EPOCH + 1
            on_step(StepRecord(number, epoch, sum(parts.values()), parts, spec.lr, moved, steps))
            if number % PER_EPOCH == 0:
                epochs.append(self.epoch(epoch))
                on_epoch(epochs[-1])
        return FineTuned(
            spec, Path("runs/one"), Path("runs/one/best.safetensors"),
            Path("runs/one/last.safetensors"), epochs, history=None, used=used(spec),
            transfer=None, freeze=None, finding=self.finding, stopped=stopped,
        )  # fmt: skip

    def epoch(self, number: int) -> EpochRecord:
        found = MAPS[number]
        best = found >= max(MAPS[: number + 1])
        return EpochRecord(
            number, number * PER_EPOCH, 1.0, {}, found, found / 2, 0.5, 0.5, 0.01, 1.0, best
        )
