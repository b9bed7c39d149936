"""The files of a fine-tuning run. A kill at any moment leaves each old or new, never half.

    run.json                   the settings, and the state of the run
    weights/first.safetensors  the network before its first step
    weights/best.safetensors   the weights of the best epoch
    state.safetensors          all that is needed to go on after the last complete epoch
    weights/last.safetensors   the weights of that epoch; written at the end
    history.safetensors        losses, statistics, snapshots; written at the end

The best weights are written before the state, and every epoch draws from a seed of its own:
a run that is killed between the two does that epoch again, and gets the same weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.core.errors import FileError, LabError
from labkit.core.files import write_atomically

FORMAT = "labkit.finetune/1"
RUN, STATE, HISTORY = "run.json", "state.safetensors", "history.safetensors"
FIRST, BEST, LAST = (f"weights/{name}.safetensors" for name in ("first", "best", "last"))


@contextmanager
def writing(folder: Path, name: str, complete: int | None) -> Iterator[None]:
    """Say in plain words that a file could not be written, and what is safe.

    Args:
        folder: the run's.
        name: of the file in it that is written meanwhile.
        complete: the last epoch whose checkpoint is there, or None.

    Raises:
        LabError: the disk is full, or the folder is not writable.
    """
    try:
        yield
    except OSError as error:
        problem = f"{folder / name} could not be written: {error.strerror or error}."
        if complete is None:
            raise LabError(f"{problem} Give a folder with room, as folder=...") from None
        raise LabError(
            f"{problem} The checkpoint of epoch {complete} is intact: make room, then "
            f"resume({str(folder)!r})"
        ) from None


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_atomically(folder / RUN, json.dumps({"format": FORMAT, **run}, indent=1))


def read_run(folder: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        FileError: it is missing, or not one of labkit's.
    """
    path = folder / RUN
    if not folder.is_dir():
        raise FileError(f"{folder} is not there: give the folder of a fine-tuning run")
    if not path.is_file():
        raise FileError(f"{folder} has no {RUN}: it is not the folder of a fine-tuning run")
    try:
        run = json.loads(path.read_text())
    except ValueError as error:
        raise FileError(f"{path} cannot be read: {error}") from None
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise FileError(f"{path} is not of a fine-tuning run ({FORMAT})")
    return run


def without_ranges(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's own tensors, without the ranges of quantization-aware training.

    Weights are an ordinary detector's then. The ranges never change during a run: those of
    the state belong to the best epoch as to the last.
    """
    return {name: tensor for name, tensor in tensors.items() if "_quantizer." not in name}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts of tensors, arrays, numbers and text as one safetensors file."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    packed, places = _pack(tensors)
    facts = {"state": json.dumps(plain), "places": json.dumps(places), "format": FORMAT}
    write_atomically(folder / STATE, save(packed, facts))


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read what `write_state` wrote; None where no epoch was completed.

    Raises:
        FileError: the file is cut short or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != FORMAT:
                raise FileError(f"{path} is not the state of a fine-tuning run ({FORMAT})")
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            tensors = _unpack(packed, json.loads(facts["places"]))
            found = _join(json.loads(facts["state"]), tensors)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"{path} is cut short or damaged ({error}): the run cannot go on from it. Its "
            f"weights so far are in {folder / BEST}"
        ) from None
    assert isinstance(found, dict)
    return found


Places = dict[str, tuple[str, int, list[int]]]


def _pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Places]:
    """All tensors of a dtype as one: thousands of small ones take safetensors a second."""
    flat: dict[str, list[Tensor]] = {}
    ends: dict[str, int] = {}
    places: Places = {}
    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        places[name] = (kind, ends.get(kind, 0), list(tensor.shape))
        ends[kind] = ends.get(kind, 0) + tensor.numel()
        flat.setdefault(kind, []).append(tensor.detach().cpu().reshape(-1))
    return {kind: torch.cat(pieces) for kind, pieces in flat.items()}, places


def _unpack(packed: Mapping[str, Tensor], places: Places) -> dict[str, Tensor]:
    """The inverse of `_pack`."""
    return {
        name: packed[kind][start : start + math.prod(shape)].reshape(shape)
        for name, (kind, start, shape) in places.items()
    }


_TENSOR, _ARRAY, _NUMBERED, _TUPLE = "__tensor__", "__array__", "__numbered__", "__tuple__"


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors put aside under their paths."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, np.ndarray):
        tensors[path] = torch.from_numpy(np.array(value))
        return {_ARRAY: path}
    if isinstance(value, Mapping):
        inner = {str(key): _split(item, f"{path}/{key}", tensors) for key, item in value.items()}
        return {_NUMBERED: inner} if value and all(isinstance(k, int) for k in value) else inner
    if isinstance(value, list | tuple):
        items = [_split(item, f"{path}/{k}", tensors) for k, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return value


def _join(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_split`."""
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _ARRAY in value:
        return tensors[value[_ARRAY]].numpy()
    if _TUPLE in value:
        return tuple(_join(item, tensors) for item in value[_TUPLE])
    if _NUMBERED in value:
        return {int(key): _join(item, tensors) for key, item in value[_NUMBERED].items()}
    return {key: _join(item, tensors) for key, item in value.items()}
