"""A history as one safetensors file, its facts as JSON in the header."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from labkit.core.errors import FileError
from labkit.core.files import write_atomically
from labkit.training.history import History, Layout, Mark

FORMAT = "labkit.history/2"


def save(history: History, path: str | os.PathLike[str]) -> Path:
    """See `History.save`."""
    from safetensors.numpy import save as to_bytes

    path = Path(path)
    path = path.with_suffix(".safetensors") if not path.suffix else path
    arrays = {name: np.ascontiguousarray(array) for name, array in history.arrays().items()}
    facts = {
        "format": FORMAT,
        "names": history.layout.names,
        "shapes": history.layout.shapes,
        "about": history.about,
        "marks": [asdict(mark) for mark in history.marks],
        "finding": history.finding,
        "stride": history.stride,
    }
    return write_atomically(path, to_bytes(arrays, {"history": json.dumps(facts)}))


def load(path: str | os.PathLike[str]) -> History:
    """See `History.load`."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not there")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get("history", "null"))
            if not isinstance(facts, dict) or facts.get("format") != FORMAT:
                raise FileError(
                    f"{path} is a safetensors file, but not a history that labkit saved"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileError:
        raise
    except (SafetensorError, ValueError, OSError) as error:
        raise FileError(
            f"{path} cannot be read as a history: it is cut short or damaged ({error})"
        ) from None
    shapes = tuple(tuple(shape) for shape in facts["shapes"])
    history = History.from_arrays(Layout(tuple(facts["names"]), shapes), facts["about"], **arrays)
    history.marks = [Mark(**mark) for mark in facts["marks"]]
    history.finding = facts["finding"]
    history.stride = facts["stride"]
    return history
