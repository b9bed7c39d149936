"""Experiments over fine-tuning runs: the head start of pre-trained weights, and forgetting."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.core.errors import LabError
from labkit.vision.finetuning.records import EpochRecord, FineTuned
from labkit.vision.finetuning.run import OnStep, Stop, finetune
from labkit.vision.finetuning.spec import FineTune

if TYPE_CHECKING:
    from labkit.core.table import Table

OnEpochOf = Callable[[str, EpochRecord], None]


@dataclass(frozen=True)
class HeadStart:
    """Two runs of one budget: from trained weights, and from random ones.

    Attributes:
        pretrained, scratch: the runs; they differ in `pretrained` alone.
    """

    pretrained: FineTuned
    scratch: FineTuned

    @property
    def reached(self) -> int | None:
        """The epoch in which the pre-trained run reached the other's final mAP50."""
        return self.pretrained.epochs_to(self.scratch.epochs[-1].map50)

    def __str__(self) -> str:
        final = self.scratch.epochs[-1]
        ends = (
            f"From scratch: mAP50 {final.map50:.3f} after {final.epoch} epochs. Pre-trained: "
            f"{self.pretrained.epochs[-1].map50:.3f}"
        )
        if self.reached is None:
            return f"{ends}, which is less: it had no head start."
        return f"{ends}, and the other's final value after {self.reached}."


def head_start(
    spec: FineTune,
    *,
    folder: str | os.PathLike[str] | None = None,
    stop: Stop | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpochOf | None = None,
) -> HeadStart:
    """Run `spec` twice: from its weights, and from random ones; all else is equal.

    Args:
        spec: what to run; its `pretrained` and `remember` are set here.
        folder: gets the folders `pretrained` and `scratch`; by default each run gets one
            of its own in the folder of runs.
        stop, on_step: as for `finetune`.
        on_epoch: called with `pretrained` or `scratch` and the record.

    Raises:
        LabError, FileError: as `finetune`.
    """
    runs = {}
    for name in ("pretrained", "scratch"):
        chosen = spec.replace(pretrained=name == "pretrained", remember="")
        runs[name] = finetune(
            chosen,
            folder=_inside(folder, name),
            stop=stop,
            on_step=on_step,
            on_epoch=_naming(name, on_epoch),
        )
    return HeadStart(**runs)


@dataclass(frozen=True)
class Forgetting:
    """How well old and new classes are found, for several freeze depths and learning rates.

    Attributes:
        runs: (freeze depth, learning rate) -> the run.
    """

    runs: dict[tuple[int, float], FineTuned]

    def table(self) -> Table:
        """One row a run: mAP50 of the new and of the old classes, at its end and before."""
        from labkit.core.table import Table

        return Table(
            {
                "freeze": freeze,
                "lr": lr,
                "new mAP50": run.epochs[-1].map50,
                "old mAP50": run.epochs[-1].old_map50,
                "old mAP50 before": run.epochs[0].old_map50,
                "epochs": run.epochs[-1].epoch,
            }
            for (freeze, lr), run in self.runs.items()
        )


def forgetting(
    spec: FineTune,
    *,
    freeze: Iterable[int] = (0,),
    lr: Iterable[float] = (),
    folder: str | os.PathLike[str] | None = None,
    stop: Stop | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpochOf | None = None,
) -> Forgetting:
    """Fine-tune once for every freeze depth and learning rate; watch old and new classes.

    See `labkit.vision.finetuning.old_task` for how the old classes are evaluated.

    Args:
        spec: what to run; its `remember` names the old data.
        freeze: depths.
        lr: learning rates; the spec's own by default.
        folder: gets a folder a run.
        stop, on_step: as for `finetune`; once stopped, no further run begins.
        on_epoch: called with `freeze 10, lr 0.002` and the record.

    Raises:
        LabError: `spec.remember` is empty; else as `finetune`.
    """
    if not spec.remember:
        raise LabError("remember is empty: name the data of the old classes, such as scenes")
    depths, rates = list(freeze), list(lr) or [spec.lr]
    runs: dict[tuple[int, float], FineTuned] = {}
    for depth in depths:
        for rate in rates:
            if stop is not None and stop.is_set():
                break
            name = f"freeze {depth}, lr {rate:g}"
            runs[depth, rate] = finetune(
                spec.replace(freeze=depth, freeze_layers=(), lr=rate),
                folder=_inside(folder, f"freeze-{depth}-lr-{rate:g}"),
                stop=stop,
                on_step=on_step,
                on_epoch=_naming(name, on_epoch),
            )
    return Forgetting(runs)


def _inside(folder: str | os.PathLike[str] | None, name: str) -> Path | None:
    return None if folder is None else Path(folder) / name


def _naming(name: str, on_epoch: OnEpochOf | None) -> Callable[[EpochRecord], None] | None:
    return None if on_epoch is None else lambda record: on_epoch(name, record)
