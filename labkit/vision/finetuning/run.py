"""finetune and resume: run a FineTune to its end, and keep every complete epoch."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from labkit.core.errors import FileError, LabError
from labkit.core.threads import idle_cores, threads
from labkit.core.ultralytics import silent, ultralytics
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.vision.data import open_data
from labkit.vision.detector import Detector, open_detector
from labkit.vision.finetuning import checkpoint, diagnosis
from labkit.vision.finetuning.freezing import check_layers
from labkit.vision.finetuning.old_task import OldTask
from labkit.vision.finetuning.past_runs import open_run
from labkit.vision.finetuning.recorder import DetectorRecorder, new_history, resumed_history
from labkit.vision.finetuning.records import EpochRecord, FineTuned, StepRecord, Used
from labkit.vision.finetuning.run_folder import RunFolder, new_folder
from labkit.vision.finetuning.spec import FineTune
from labkit.vision.finetuning.transfer import Transfer, build
from labkit.weights.load import load

if TYPE_CHECKING:
    from labkit.vision.finetuning.trainer import FineTuner


class Stop(Protocol):
    """A `threading.Event`, or anything else with `is_set`."""

    def is_set(self) -> bool: ...


OnStart = Callable[[Used], None]
OnStep = Callable[[StepRecord], None]
OnEpoch = Callable[[EpochRecord], None]


def finetune(
    spec: FineTune,
    *,
    folder: str | os.PathLike[str] | None = None,
    stop: Stop | None = None,
    on_start: OnStart | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
) -> FineTuned:
    """Fine-tune a detector on Ultralytics' trainer; everything is checked before it starts.

    It may run in any thread, and one after the other in one process. Nothing is printed,
    sent or written but the files of `folder` (see `labkit.vision.finetuning.checkpoint`).
    On one machine with the same number of threads (`spec.threads`), equal specs give equal
    weights on the CPU.

    Args:
        spec: what to do.
        folder: where the run's files go, a new one or an empty one; by default a new one
            in `labkit.vision.folders.runs_folder()`.
        stop: called before every step; True ends the run. A stopped run keeps its complete
            epochs, the best one among them, and `resume(folder)` continues it.
        on_start: called before the first step, with the settings that will really be used.
        on_step: called after every step, in the calling thread.
        on_epoch: called after every epoch, its files written; first for epoch 0, the
            detector before training.

    Returns:
        What it left. A run whose loss stops being a number, or whose detector stops finding
        anything at all, ends early, with a finding and the best epoch until then.

    Raises:
        LabError: weights, data or settings that cannot work, a full disk, a folder in use.
        FileError: a file that cannot be read.
    """
    ultralytics()
    data = open_data(spec.data)
    start = open_detector(spec.weights)
    network, transfer = build(start, data.names, pretrained=spec.pretrained, seed=spec.seed)
    check_layers(spec.frozen, len(network.model))  # type: ignore[arg-type]
    old = _old_task(spec, start)
    files = RunFolder(
        new_folder(spec, data, folder), spec, data, start.weights.architecture, network
    )
    files.begin(network.state_dict(), transfer)
    run = Training(files, network, transfer, old)
    return run.train(stop, on_start, on_step, on_epoch)


def resume(
    folder: str | os.PathLike[str],
    *,
    stop: Stop | None = None,
    on_start: OnStart | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
) -> FineTuned:
    """Continue a run that was stopped or killed, from its last complete epoch.

    On a CPU the weights are those of a run that was never interrupted.

    Args:
        folder: the run's folder.
        stop, on_start, on_step, on_epoch: as for `finetune`.

    Returns:
        As `finetune`; of a run that has ended, what it left.

    Raises:
        FileError: the folder is not of a run, or something it needs is missing or damaged;
            the message says what.
        LabError: the data set is no longer the one that the run began with.
    """
    place = Path(folder).expanduser().absolute()
    facts = checkpoint.read_run(place)
    if facts["status"] in ("finished", "diverged"):
        return open_run(place)
    ultralytics()
    spec = FineTune(**facts["spec"])
    data = open_data(spec.data)
    if data.sha256 != facts["data_sha256"]:
        raise LabError(
            f"data={spec.data!r} is no longer what the run in {place} began with: its images, "
            "labels or classes have changed. Start a new run"
        )
    state = checkpoint.read_state(place)
    first = place / checkpoint.FIRST
    if not first.is_file():
        raise FileError(f"{place} has no {checkpoint.FIRST}: start a new run")
    detector = open_detector(first)
    network, _ = build(detector, data.names)
    old = _old_task(spec, open_detector(spec.weights) if spec.remember else None)
    files = RunFolder(place, spec, data, detector.weights.architecture, network)
    files.reopen(facts, state)
    run = Training(files, network, Transfer.of(facts["transfer"]), old)
    if state is not None:
        run.restore(state)
    return run.train(stop, on_start, on_step, on_epoch)


class Training:
    """One run of Ultralytics' trainer: what it reports, and what is kept of every epoch.

    Args:
        files: where everything is kept.
        network: what is trained.
        transfer: where its tensors came from.
        old: measures the old classes too, where that is wanted.
    """

    def __init__(
        self,
        files: RunFolder,
        network: Any,
        transfer: Transfer,
        old: OldTask | None,
    ) -> None:
        self.files, self.spec, self.data = files, files.spec, files.data
        self.network, self.transfer, self.old = network, transfer, old
        self.epochs: list[EpochRecord] = []
        self.seconds = 0.0
        self.state: dict[str, Any] | None = None
        self.history: History | None = None
        self.used: Used | None = None
        self.finding: Finding | None = None
        self.start_hook: OnStart = _nothing
        self.epoch_hook: OnEpoch = _nothing

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of the last complete epoch."""
        self.state = state
        self.epochs = [EpochRecord(**record) for record in state["epochs"]]
        self.seconds = state["seconds"]
        self.used = Used(**state["used"])
        # Of snapshots only the first and the latest are left.
        self.history = resumed_history(
            state["history"], self._first(), state["average"], self.files.about
        )

    def train(
        self,
        stop: Stop | None,
        on_start: OnStart | None,
        on_step: OnStep | None,
        on_epoch: OnEpoch | None,
    ) -> FineTuned:
        """Train until the end, a stop, or divergence."""
        self.start_hook, self.epoch_hook = on_start or _nothing, on_epoch or _nothing
        from labkit.vision.finetuning.trainer import Collapsed, Diverged, FineTuner, Stopped

        tuner = FineTuner
        if self.spec.qat:
            from labkit.vision.finetuning.quantized import QuantizedTuner as tuner  # noqa: N813

        status = "finished"
        before = self.used.threads if self.used else 0  # a resumed run keeps their number
        count = before or self.spec.threads or idle_cores()
        with silent(), own_randomness(), threads(count):
            with checkpoint.writing(self.files.path, "args.yaml", None):
                trainer = tuner(
                    self.spec,
                    self.data,
                    self.network,
                    self.files.path,
                    make_recorder=self._recorder,
                    stop=stop.is_set if stop else _never,
                    on_step=on_step or _nothing,
                    on_start=self._on_start,
                    on_epoch=self._on_epoch,
                    state=self.state,
                )
            try:
                if not self.epochs or self.epochs[-1].epoch < self.spec.epochs:
                    trainer.train()
            except Stopped:
                status = "stopped"
            except Diverged as error:
                status = "diverged"
                self.finding = diagnosis.diverged(
                    error.step, error.loss, trainer.model, error.images, self.spec, self.history
                )
            except Collapsed as error:
                status = "diverged"
                self.finding = diagnosis.collapsed(error.step, error.loss, self.spec)
            finally:
                trainer.close()
        return self._end(status)

    def _recorder(self, network: Any) -> DetectorRecorder:
        initial = None
        if self.history is None:
            self.history = new_history(network, self.files.about)
        else:
            initial = self._first()
        return DetectorRecorder(network, self.history, self.spec.record_every, initial)

    def _first(self) -> Mapping[str, Tensor]:
        """The weights before the first step."""
        return load(self.files.path / checkpoint.FIRST).tensors

    def _on_start(self, trainer: FineTuner) -> None:
        """All is set up: read the settings back, and measure epoch 0."""
        self.used = trainer.used()
        self.start_hook(self.used)
        if self.epochs:
            return
        began = time.perf_counter()
        found = trainer.evaluate()
        record = EpochRecord(
            0, 0, math.nan, {}, found.map50, found.map, found.precision, found.recall,
            trainer.rate, time.perf_counter() - began, best=True, old_map50=self._old(trainer),
        )  # fmt: skip
        self._keep(record, trainer)

    def _on_epoch(self, trainer: FineTuner) -> None:
        found = trainer.found
        assert found is not None
        old = self._old(trainer)
        parts = trainer.mean_parts()
        record = EpochRecord(
            trainer.epoch + 1,
            trainer.step_number,
            sum(parts.values()),
            parts,
            found.map50,
            found.map,
            found.precision,
            found.recall,
            trainer.rate,
            trainer.epoch_seconds(),
            best=found.map >= max(record.map for record in self.epochs),
            old_map50=old,
        )
        self._keep(record, trainer)

    def _old(self, trainer: FineTuner) -> float | None:
        return self.old.map50(trainer.ema.ema) if self.old else None

    def _keep(self, record: EpochRecord, trainer: FineTuner) -> None:
        """Keep a complete epoch, then report it."""
        assert self.history is not None
        assert self.used is not None
        trainer.recorder.record_epoch(record.step, record.loss, record.map50)
        self.epochs.append(record)
        self.seconds += record.seconds
        state = {
            **trainer.state(record.epoch),
            "seconds": self.seconds,
            "used": asdict(self.used),
            "history": self.history.arrays(weights=False),
        }
        self.files.write_epoch(self.epochs, state)
        self.epoch_hook(record)

    def _end(self, status: str) -> FineTuned:
        """Close the folder; return what is in it."""
        assert self.history is not None
        assert self.used is not None
        if self.finding is None:
            losses = self.history.curve("loss")[1]
            first = float(losses[0]) if len(losses) else math.nan
            self.finding = diagnosis.lr_too_high(self.spec, first, self.epochs)
        self.files.end(status, self.epochs[-1], self.history, self.finding)
        return FineTuned(
            spec=self.spec,
            folder=self.files.path,
            best=self.files.path / checkpoint.BEST,
            last=self.files.path / checkpoint.LAST,
            epochs=list(self.epochs),
            history=self.history,
            used=self.used,
            transfer=self.transfer,
            freeze=self.files.proof(),
            finding=self.finding,
            stopped=status == "stopped",
            names=dict(self.data.names),
            seconds=self.seconds,
        )


def _old_task(spec: FineTune, start: Detector | None) -> OldTask | None:
    if not spec.remember:
        return None
    if not spec.pretrained:
        raise LabError("remember= needs pretrained=true: random weights have nothing to forget")
    assert start is not None
    return OldTask(start, open_data(spec.remember), spec.image_size)


@contextmanager
def own_randomness() -> Iterator[None]:
    """Ultralytics draws from the global generators: give them back as they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def _nothing(_: Any) -> None:
    pass


def _never() -> bool:
    return False
