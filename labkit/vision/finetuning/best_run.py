"""The best of the runs that are there: where a notebook goes on from what another has left."""

from __future__ import annotations

import os
from pathlib import Path

from labkit.core.errors import FileError
from labkit.vision.data import DataSet
from labkit.vision.finetuning import checkpoint
from labkit.vision.finetuning.records import FineTuned
from labkit.vision.finetuning.run import open_run
from labkit.vision.folders import runs_folder
from labkit.weights.load import load


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
