"""Runs that have ended: what one left in its folder, and the best of them all."""

from __future__ import annotations

import os
from pathlib import Path

from labkit.core.errors import FileError
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.vision.data import DataSet
from labkit.vision.finetuning import checkpoint
from labkit.vision.finetuning.records import EpochRecord, FineTuned, Used
from labkit.vision.finetuning.run_folder import freeze_proof
from labkit.vision.finetuning.spec import FineTune
from labkit.vision.finetuning.transfer import Transfer
from labkit.vision.folders import runs_folder
from labkit.weights.load import load


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
        history=History.load(place / checkpoint.HISTORY),
        used=Used(**state["used"]),
        transfer=Transfer.of(facts["transfer"]),
        freeze=freeze_proof(place, facts["freeze"]),
        finding=Finding(**facts["finding"]) if facts.get("finding") else None,
        stopped=facts["status"] == "stopped",
        names={int(k): name for k, name in facts["names"].items()},
        seconds=state["seconds"],
    )


def best_run(
    data: DataSet, image_size: int, folder: str | os.PathLike[str] | None = None
) -> FineTuned | None:
    """The ended run on a data set whose best weights have the highest mAP50-95, if there is one.

    Args:
        data: the data set; runs on what it was before its images or labels changed do not
            count, nor quantization-aware ones, nor those that cannot be read.
        image_size: the side in pixels that runs must have had.
        folder: of the runs; `labkit.vision.folders.runs_folder()` by default.
    """
    place = Path(folder) if folder is not None else runs_folder()
    found: dict[Path, float] = {}
    for file in sorted(place.glob(f"*/{checkpoint.RUN}")):
        try:
            facts = checkpoint.read_run(file.parent)
            spec = facts["spec"]
            if (
                facts["status"] in ("finished", "stopped")
                and facts["data_sha256"] == data.sha256
                and spec["image_size"] == image_size
                and not spec.get("qat")
            ):
                found[file.parent] = float(load(file.parent / checkpoint.BEST).about["map"])
        except (FileError, KeyError, TypeError, ValueError):
            continue
    return open_run(max(found, key=lambda one: found[one])) if found else None
