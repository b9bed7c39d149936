"""finetune: run a FineTune to its end, keep every complete epoch, tell what happened."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from labkit.core.errors import FileError, LabError
from labkit.core.threads import idle_cores, threads
from labkit.core.ultralytics import silent, ultralytics
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.vision.data import DataSet, open_data
from labkit.vision.detector import Detector, open_detector
from labkit.vision.finetuning import checkpoint, diagnosis
from labkit.vision.finetuning.forgetting import OldClasses
from labkit.vision.finetuning.freezing import (
    FreezeProof,
    check_layers,
    fingerprints,
    frozen_tensors,
)
from labkit.vision.finetuning.recording import DetectorHistory, Recorder, new_history
from labkit.vision.finetuning.records import EpochRecord, FineTuned, StepRecord, Used
from labkit.vision.finetuning.spec import FineTune
from labkit.vision.finetuning.transfer import Transfer, build
from labkit.vision.folders import runs_folder
from labkit.weights.load import load
from labkit.weights.save import save

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
        stop: asked before every step. A stopped run keeps its complete epochs, the best
            one among them, and `resume(folder)` goes on.
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
    old = _old_classes(spec, start)
    place = _new_folder(spec, data, folder)
    run = _Run(spec, data, place, network, transfer, old, start)
    run.begin()
    return run.go(stop, on_start, on_step, on_epoch)


def resume(
    folder: str | os.PathLike[str],
    *,
    stop: Stop | None = None,
    on_start: OnStart | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
) -> FineTuned:
    """Go on with a run that was stopped or killed, from its last complete epoch.

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
        raise FileError(f"{place} has no {checkpoint.FIRST}: start the run anew")
    network, _ = build(open_detector(first), data.names)
    start = open_detector(spec.weights) if spec.remember else None
    old = _old_classes(spec, start)
    run = _Run(spec, data, place, network, Transfer.of(facts["transfer"]), old, start)
    run.take_up(facts, state)
    return run.go(stop, on_start, on_step, on_epoch)


def open_run(folder: str | os.PathLike[str]) -> FineTuned:
    """What a run left in its folder; nothing is trained.

    Raises:
        FileError: the folder is not of a run, or no epoch of it was completed.
    """
    place = Path(folder).expanduser().absolute()
    facts = checkpoint.read_run(place)
    state = checkpoint.read_state(place)
    if state is None:
        raise FileError(f"the run in {place} has no complete epoch yet: resume it")
    history, layers = place / checkpoint.HISTORY, tuple(facts["freeze"]["layers"])
    if facts["status"] == "running":  # killed: what it had is in its state
        raise FileError(
            f"the run in {place} did not end: resume it, or take its best weights so far, "
            f"{place / checkpoint.BEST}"
        )
    return FineTuned(
        spec=FineTune(**facts["spec"]),
        folder=place,
        best=place / checkpoint.BEST,
        last=place / checkpoint.LAST,
        epochs=[EpochRecord(**record) for record in state["epochs"]],
        history=History.load(history),
        used=_used(state["used"]),
        transfer=Transfer.of(facts["transfer"]),
        freeze=FreezeProof(facts["freeze"]["before"], _after(place, layers), layers),
        finding=Finding(**facts["finding"]) if facts.get("finding") else None,
        stopped=facts["status"] == "stopped",
        names={int(k): name for k, name in facts["names"].items()},
        seconds=state["seconds"],
    )


class _Run:
    """One run in its folder: what is known before the first step, and every epoch's files."""

    def __init__(
        self,
        spec: FineTune,
        data: DataSet,
        folder: Path,
        network: Any,
        transfer: Transfer,
        old: OldClasses | None,
        start: Detector | None,
    ) -> None:
        self.spec, self.data, self.folder = spec, data, folder
        self.network, self.transfer, self.old, self.start = network, transfer, old, start
        self.epochs: list[EpochRecord] = []
        self.seconds = 0.0
        self.state: dict[str, Any] | None = None
        self.history: DetectorHistory | None = None
        self.used: Used | None = None
        self.finding: Finding | None = None
        self.start_hook: OnStart = _nothing
        self.step_hook: OnStep = _nothing
        self.epoch_hook: OnEpoch = _nothing

    # --- before the first step ---------------------------------------------------------

    def begin(self) -> None:
        """Write what a resumed run will need."""
        before = fingerprints(frozen_tensors(self.network.state_dict(), self.spec.frozen))
        self.facts: dict[str, Any] = {
            "status": "running",
            "spec": self.spec.model_dump(),
            "names": {str(k): name for k, name in self.data.names.items()},
            "data_sha256": self.data.sha256,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "transfer": asdict(self.transfer),
            "freeze": {"before": before, "layers": list(self.spec.frozen)},
        }
        with checkpoint.writing(self.folder, checkpoint.FIRST, None):
            self._save(self.folder / checkpoint.FIRST, self.network.state_dict(), epoch=0)
            checkpoint.write_run(self.folder, self.facts)

    def take_up(self, facts: dict[str, Any], state: dict[str, Any] | None) -> None:
        """Go on from what was read."""
        self.facts, self.state = {**facts, "status": "running"}, state
        if state is None:
            return
        self.epochs = [EpochRecord(**record) for record in state["epochs"]]
        self.seconds = state["seconds"]
        self.used = _used(state["used"])
        self.history = _history_of(state, self.folder, self._about())
        checkpoint.write_run(self.folder, self.facts)
        if not (self.folder / checkpoint.BEST).is_file():
            raise FileError(f"{self.folder} has no {checkpoint.BEST}: start the run anew")

    # --- the run -----------------------------------------------------------------------

    def go(
        self,
        stop: Stop | None,
        on_start: OnStart | None,
        on_step: OnStep | None,
        on_epoch: OnEpoch | None,
    ) -> FineTuned:
        """Train until the end, a stop, or divergence."""
        self.start_hook = on_start or _nothing
        self.step_hook, self.epoch_hook = on_step or _nothing, on_epoch or _nothing
        from labkit.vision.finetuning.trainer import Collapsed, Diverged, FineTuner, Stopped

        tuner = FineTuner
        if self.spec.qat:
            from labkit.vision.finetuning.quantized import QuantizedTuner as tuner  # noqa: N813

        status = "finished"
        before = self.used.threads if self.used else 0  # a resumed run goes on with as many
        count = before or self.spec.threads or idle_cores()
        with silent(), own_randomness(), threads(count):
            with checkpoint.writing(self.folder, "args.yaml", None):
                trainer = tuner(
                    self.spec,
                    self.data,
                    self.network,
                    self.folder,
                    make_recorder=self._recorder,
                    stop=stop.is_set if stop else _never,
                    on_step=self.step_hook,
                    on_start=self._on_start,
                    on_epoch=self._on_epoch,
                    state=self.state,
                )
            try:
                if self._left():
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

    def _left(self) -> bool:
        done = self.epochs[-1].epoch if self.epochs else 0
        return done < self.spec.epochs

    def _about(self) -> dict[str, Any]:
        return {"finetune": self.spec.model_dump(), "names": self.facts["names"]}

    def _recorder(self, network: Any) -> Recorder:
        initial = None
        if self.history is None:
            self.history = new_history(network, self._about())
        else:
            initial = load(self.folder / checkpoint.FIRST).tensors
        return Recorder(network, self.history, self.spec.record_every, initial)

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
        """Write an epoch's files, the state last: with it the epoch is complete."""
        assert self.history is not None
        assert self.used is not None
        complete = self.epochs[-1].epoch if self.epochs else None
        self.history.record_epoch(record.step, record.loss, record.map50)
        if record.best:
            with checkpoint.writing(self.folder, checkpoint.BEST, complete):
                self._save_epoch(checkpoint.BEST, trainer.ema.ema.state_dict(), record)
        self.epochs.append(record)
        self.seconds += record.seconds
        with checkpoint.writing(self.folder, checkpoint.STATE, complete):
            checkpoint.write_state(
                self.folder,
                {
                    **trainer.state(record.epoch),
                    "epochs": [epoch._asdict() for epoch in self.epochs],
                    "seconds": self.seconds,
                    "used": asdict(self.used),
                    "history": self.history.without_snapshots(),
                },
            )
        self.epoch_hook(record)

    def _save_epoch(self, name: str, tensors: dict[str, Any], record: EpochRecord) -> None:
        facts = {"epoch": record.epoch, "map50": record.map50, "map": record.map}
        self._save(self.folder / name, tensors, **facts)

    def _save(self, path: Path, tensors: dict[str, Any], **facts: Any) -> None:
        described = {k: v for k, v in self.network.yaml.items() if k != "yaml_file"}
        save(
            path,
            checkpoint.without_ranges(tensors),
            architecture=self._architecture(),
            yaml=described,
            task="detect",
            names={str(k): name for k, name in self.data.names.items()},
            train_args={"imgsz": self.spec.image_size, **self.spec.model_dump()},
            date=self.facts["date"],
            data=self.data.name,
            data_sha256=self.facts["data_sha256"],
            **facts,
        )

    def _architecture(self) -> str | None:
        weights = self.start.weights if self.start else load(self.folder / checkpoint.FIRST)
        return weights.architecture

    def _end(self, status: str) -> FineTuned:
        """Write the history and how it ended; return what is there."""
        assert self.history is not None
        assert self.used is not None
        if self.finding is None:
            losses = self.history.curve("loss")[1]
            first = float(losses[0]) if len(losses) else math.nan
            self.finding = diagnosis.lr_too_high(self.spec, first, self.epochs)
        if self.finding is not None:
            self.history.finding = self.finding.as_dict()
            self.facts["finding"] = self.finding.as_dict()
        complete = self.epochs[-1].epoch
        state = checkpoint.read_state(self.folder)
        assert state is not None
        with checkpoint.writing(self.folder, checkpoint.LAST, complete):
            self._save_epoch(checkpoint.LAST, state["average"], self.epochs[-1])
        with checkpoint.writing(self.folder, checkpoint.HISTORY, complete):
            self.history.save(self.folder / checkpoint.HISTORY)
        with checkpoint.writing(self.folder, checkpoint.RUN, complete):
            checkpoint.write_run(self.folder, {**self.facts, "status": status})
        proof = self.facts["freeze"]
        layers = tuple(proof["layers"])
        return FineTuned(
            spec=self.spec,
            folder=self.folder,
            best=self.folder / checkpoint.BEST,
            last=self.folder / checkpoint.LAST,
            epochs=list(self.epochs),
            history=self.history,
            used=self.used,
            transfer=self.transfer,
            freeze=FreezeProof(proof["before"], _after(self.folder, layers), layers),
            finding=self.finding,
            stopped=status == "stopped",
            names=dict(self.data.names),
            seconds=self.seconds,
        )


# --- pieces ----------------------------------------------------------------------------


def _old_classes(spec: FineTune, start: Detector | None) -> OldClasses | None:
    if not spec.remember:
        return None
    if not spec.pretrained:
        raise LabError("remember= needs pretrained=true: random weights have nothing to forget")
    assert start is not None
    return OldClasses(start, open_data(spec.remember), spec.image_size)


def _new_folder(spec: FineTune, data: DataSet, wanted: str | os.PathLike[str] | None) -> Path:
    """Make the run's folder.

    Raises:
        LabError: the folder is in use, or cannot be made.
    """
    try:
        if wanted is not None:
            folder = Path(wanted).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise LabError(
                    f"folder={str(folder)!r} is not empty: give a new one, or resume it if it "
                    "holds a run"
                )
            return folder
        runs = runs_folder()
        runs.mkdir(parents=True, exist_ok=True)
        base = f"{data.name}-{Path(spec.weights).stem}{'' if spec.pretrained else '-scratch'}"
        for number in range(1, 100_000):
            folder = runs / f"{base}-{number}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        where = wanted or runs_folder()
        raise LabError(f"{where} cannot be made: {error.strerror}. Give another folder=") from None
    raise LabError(f"{runs} is full of runs called {base}: give a folder=")


def _after(folder: Path, layers: Any) -> dict[str, str]:
    """Hashes of the frozen tensors in the file of the last epoch."""
    if not layers:
        return {}
    return fingerprints(frozen_tensors(load(folder / checkpoint.LAST).tensors, layers))


def _history_of(state: dict[str, Any], folder: Path, about: dict[str, Any]) -> DetectorHistory:
    """The history of the complete epochs; of snapshots only the first and the latest."""
    first = load(folder / checkpoint.FIRST).tensors
    return DetectorHistory.taken_up(state["history"], first, state["average"], about)


def _used(plain: dict[str, Any]) -> Used:
    return Used(**plain)


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
