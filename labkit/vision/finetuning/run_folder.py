"""The folder of one fine-tuning run: made, filled epoch by epoch, closed."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.core.errors import FileError, LabError
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.vision.finetuning import checkpoint
from labkit.vision.finetuning.freezing import FreezeProof, fingerprints, frozen_tensors
from labkit.vision.finetuning.records import EpochRecord
from labkit.vision.finetuning.spec import FineTune
from labkit.vision.finetuning.transfer import Transfer
from labkit.vision.folders import runs_folder
from labkit.weights.load import load
from labkit.weights.save import save

if TYPE_CHECKING:
    from torch import Tensor, nn

    from labkit.vision.data import DataSet


class RunFolder:
    """Writes the files of one run (`labkit.vision.finetuning.checkpoint` lists them).

    Args:
        path: the folder; it exists.
        spec, data: of the run.
        architecture: the network's name, written into every weight file.
        network: what is trained; its description is written into every weight file.

    Attributes:
        facts: what run.json holds.
    """

    def __init__(
        self,
        path: Path,
        spec: FineTune,
        data: DataSet,
        architecture: str | None,
        network: nn.Module,
    ) -> None:
        self.path, self.spec, self.data, self.architecture = path, spec, data, architecture
        self._yaml = {k: v for k, v in network.yaml.items() if k != "yaml_file"}  # type: ignore[union-attr,operator]
        self.facts: dict[str, Any] = {}

    @property
    def about(self) -> dict[str, Any]:
        """What a history says about its run."""
        return {"finetune": self.spec.model_dump(), "names": self.facts["names"]}

    def begin(self, tensors: dict[str, Tensor], transfer: Transfer) -> None:
        """Write what a resumed run will need, before the first step.

        Args:
            tensors: the network's.
            transfer: where they came from.
        """
        self.facts = {
            "status": "running",
            "spec": self.spec.model_dump(),
            "names": {str(k): name for k, name in self.data.names.items()},
            "data_sha256": self.data.sha256,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "transfer": asdict(transfer),
            "freeze": {
                "before": fingerprints(frozen_tensors(tensors, self.spec.frozen)),
                "layers": list(self.spec.frozen),
            },
        }
        with checkpoint.writing(self.path, checkpoint.FIRST, None):
            self._save(checkpoint.FIRST, tensors, epoch=0)
            checkpoint.write_run(self.path, self.facts)

    def reopen(self, facts: dict[str, Any], state: dict[str, Any] | None) -> None:
        """Continue a run that was stopped or killed.

        Args:
            facts: its run.json.
            state: that of its last complete epoch, if there is one.

        Raises:
            FileError: its best weights are gone.
        """
        self.facts = {**facts, "status": "running"}
        if state is None:
            return
        checkpoint.write_run(self.path, self.facts)
        if not (self.path / checkpoint.BEST).is_file():
            raise FileError(f"{self.path} has no {checkpoint.BEST}: start a new run")

    def write_epoch(self, epochs: list[EpochRecord], state: dict[str, Any]) -> None:
        """Write an epoch's files, the state last: with it the epoch is complete.

        Args:
            epochs: the records so far, with this epoch's last.
            state: all that is needed to continue, but for the records; under `average` the
                averaged weights.
        """
        complete = epochs[-2].epoch if len(epochs) > 1 else None
        if epochs[-1].best:
            with checkpoint.writing(self.path, checkpoint.BEST, complete):
                self.write_weights(checkpoint.BEST, state["average"], epochs[-1])
        with checkpoint.writing(self.path, checkpoint.STATE, complete):
            records = [record._asdict() for record in epochs]
            checkpoint.write_state(self.path, {**state, "epochs": records})

    def end(
        self, status: str, record: EpochRecord, history: History, finding: Finding | None
    ) -> None:
        """Write the last weights, the history, and how the run ended.

        Args:
            status: `finished`, `stopped` or `diverged`.
            record: of the last complete epoch.
            history, finding: of the run.
        """
        if finding is not None:
            history.finding = finding.as_dict()
            self.facts["finding"] = finding.as_dict()
        state = checkpoint.read_state(self.path)
        assert state is not None
        with checkpoint.writing(self.path, checkpoint.LAST, record.epoch):
            self.write_weights(checkpoint.LAST, state["average"], record)
        with checkpoint.writing(self.path, checkpoint.HISTORY, record.epoch):
            history.save(self.path / checkpoint.HISTORY)
        with checkpoint.writing(self.path, checkpoint.RUN, record.epoch):
            checkpoint.write_run(self.path, {**self.facts, "status": status})

    def proof(self) -> FreezeProof:
        """Hashes of the frozen tensors before the run, and in its file of the last epoch."""
        return freeze_proof(self.path, self.facts["freeze"])

    def write_weights(self, name: str, tensors: dict[str, Tensor], record: EpochRecord) -> None:
        """Write an epoch's weights, with what they achieved."""
        self._save(name, tensors, epoch=record.epoch, map50=record.map50, map=record.map)

    def _save(self, name: str, tensors: dict[str, Tensor], **facts: Any) -> None:
        save(
            self.path / name,
            checkpoint.without_ranges(tensors),
            architecture=self.architecture,
            yaml=self._yaml,
            task="detect",
            names=self.facts["names"],
            train_args={"imgsz": self.spec.image_size, **self.spec.model_dump()},
            date=self.facts["date"],
            data=self.data.name,
            data_sha256=self.facts["data_sha256"],
            **facts,
        )


def new_folder(spec: FineTune, data: DataSet, wanted: str | os.PathLike[str] | None) -> Path:
    """Make the folder of a new run.

    Args:
        spec, data: of the run; a numbered folder is named after them.
        wanted: a new or an empty folder; by default a numbered one in `runs_folder()`.

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


def freeze_proof(folder: Path, frozen: dict[str, Any]) -> FreezeProof:
    """The frozen tensors as they were, and as they are in the file of the last epoch."""
    layers = tuple(frozen["layers"])
    after = {}
    if layers:
        after = fingerprints(frozen_tensors(load(folder / checkpoint.LAST).tensors, layers))
    return FreezeProof(frozen["before"], after, layers)
