"""A history's arrays and facts as one safetensors file, the facts as JSON in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labkit.core.errors import FileError
from labkit.core.files import write_atomically

FORMAT = "labkit.history/2"
_FACTS = ("names", "shapes", "about", "marks", "finding", "stride")
_ARRAYS = (
    "scalars",
    "evaluations",
    "statistics",
    "statistic_steps",
    "snapshots",
    "snapshot_steps",
    "latest",
)


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> Path:
    """Write a file; the old one or the new one is there at any moment.

    Args:
        path: `.safetensors` is added where it has no suffix.
        arrays: see `History.from_arrays`.
        facts: JSON values.

    Returns:
        The path that was written.
    """
    from safetensors.numpy import save as to_bytes

    path = Path(path)
    path = path.with_suffix(".safetensors") if not path.suffix else path
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = {"history": json.dumps({"format": FORMAT, **facts})}
    return write_atomically(path, to_bytes(contiguous, header))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the facts that `write` was given, all of them there.

    Raises:
        FileError: no such file, cut short, or not a history.
    """
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
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise FileError(f"{path} cannot be read as a history: it has no {', '.join(missing)}")
    if missing := [name for name in _FACTS if name not in facts]:
        raise FileError(f"{path} cannot be read as a history: it has no {', '.join(missing)}")
    return {name: arrays[name] for name in _ARRAYS}, {name: facts[name] for name in _FACTS}
