"""Drawn data sets: small ones to fine-tune on, and the scenes a detector knows already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from labkit.core.errors import LabError
from labkit.vision.folders import CACHE, cache_folder

SIZE = 320  # pixels, height and width


@dataclass(frozen=True)
class DrawnSet:
    """A module with `NAMES` and `draw`, and what to draw by it.

    Attributes:
        module: its name.
        counts: images per split.
        seed: of all that is drawn.
    """

    module: str
    counts: Mapping[str, int]
    seed: int = 0

    def load(self) -> ModuleType:
        """Import the module that draws."""
        return import_module(self.module)


SETS = {
    "cells": DrawnSet("labkit.vision.synthetic.sets.cells", {"train": 64, "val": 32}),
    "parts": DrawnSet("labkit.vision.synthetic.sets.parts", {"train": 64, "val": 32}),
    "fruit": DrawnSet("labkit.vision.synthetic.sets.fruit", {"train": 64, "val": 32}),
    "scenes": DrawnSet("labkit.vision.synthetic.scenes", {"train": 128, "val": 64}, seed=2),
}


def draw_set(name: str) -> Path:
    """The `data.yaml` of a drawn set, which is drawn where it is not there yet.

    Raises:
        LabError: there is no room for it, or no right to write.
    """
    from labkit.vision.synthetic.drawn import export

    chosen = SETS[name]
    folder = cache_folder() / f"{name}-{version(chosen)}"
    module = chosen.load()
    try:
        return export(module.draw, module.NAMES, folder, chosen.counts, SIZE, chosen.seed)
    except OSError as error:
        raise LabError(
            f"{name} could not be drawn into {folder}: {error.strerror or error}. The environment "
            f"variable {CACHE} can name another folder"
        ) from None


def version(chosen: DrawnSet) -> str:
    """A hash of the code that draws and of its arguments: other code, another folder."""
    file = Path(chosen.load().__file__ or "")
    if file.name == "__init__.py":
        files = sorted(file.parent.glob("*.py"))
    else:
        files = [file, file.parent / "canvas.py"]
    files.append(file.parents[1] / "drawn.py")
    code = hashlib.sha256(f"{sorted(chosen.counts.items())} {chosen.seed} {SIZE}".encode())
    for path in files:
        code.update(path.read_bytes())
    return code.hexdigest()[:10]
