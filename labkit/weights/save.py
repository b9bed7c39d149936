"""Saving weights as one safetensors file: bitwise the same for the same weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from labkit.core.errors import LabError
from labkit.core.files import write_atomically
from labkit.weights.file import Weights, buffers_among

# One key, because safetensors writes several in an order that changes from run to run.
KEY = "labkit"
FORMAT = "labkit.weights/1"


def save(
    path: str | os.PathLike[str], weights: Weights | Mapping[str, Tensor], **about: Any
) -> Path:
    """Save tensors, and what is known about them, as safetensors; the path it got.

    Of a detector the file holds all that is needed to build it again: `yaml`, `names`,
    `task` and the tensors under the names of its `state_dict`. The file is written
    atomically, and the same weights give the same bytes.

    Args:
        path: where; `.safetensors` is added to a name without an ending.
        weights: `Weights`, whose metadata goes along, or named tensors.
        about: metadata, replacing what `weights` says; JSON values. `architecture`, `yaml`,
            `task`, `names`, `train_args`, `date` and `buffers` are fields of `Weights`
            when the file is loaded, everything else is in its `about`.

    Raises:
        LabError: a value that is not JSON, or a path with another ending.
    """
    from safetensors.torch import save as to_bytes

    path = Path(path)
    path = path.with_suffix(".safetensors") if not path.suffix else path
    if path.suffix != ".safetensors":
        raise LabError(f"{path}: labkit saves weights as .safetensors")
    tensors = weights.tensors if isinstance(weights, Weights) else weights
    known = {**(_facts(weights) if isinstance(weights, Weights) else {}), **about}
    known.setdefault("buffers", buffers_among(tensors))
    known["buffers"] = sorted(known["buffers"])
    facts = {**known, "format": FORMAT, "order": list(tensors)}
    try:
        metadata = json.dumps(facts, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LabError(f"{path}: the metadata of the weights is not JSON: {error}") from None
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return write_atomically(path, to_bytes(own, {KEY: metadata}))


def _facts(weights: Weights) -> dict[str, Any]:
    fields = ("architecture", "yaml", "task", "names", "train_args", "date", "buffers")
    known = {name: value for name in fields if (value := getattr(weights, name))}
    return {**weights.about, **known}
