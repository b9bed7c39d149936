"""Weights: the named tensors of a file or a network, with what it says about itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from labkit.weights.names import looks_like_buffer

Format = Literal["pt", "safetensors", "onnx", "tflite", "module", "state dict"]


@dataclass(frozen=True, repr=False)
class Weights:
    """Named tensors and their metadata, wherever they came from.

    Attributes:
        tensors: by name, in the order of depth where it is known; on the CPU, in the shape
            and dtype that they have on disk.
        format: what they were read from.
        sha256: of the file; of names, dtypes, shapes and values where there is none.
        size: bytes of the file, or of all tensors.
        path: the file, or None.
        buffers: the names that no gradient changes (`running_mean`).
        architecture: such as "yolo26n", where it is known.
        yaml: Ultralytics' description of the network, checked (`labkit.weights.architecture`), or
            None: `yaml_problem` says what was wrong with one that was there.
        task: "detect", "segment", "classify", "pose", "obb" …, where it is known.
        names: the classes, by index.
        train_args: the training arguments, as the file states them.
        date: of training, as the file states it.
        about: what else the file says: JSON values.
    """

    tensors: Mapping[str, Tensor]
    format: Format
    sha256: str
    size: int
    path: Path | None = None
    buffers: frozenset[str] = frozenset()
    architecture: str | None = None
    yaml: dict[str, Any] | None = None
    yaml_problem: str | None = None
    task: str | None = None
    names: dict[int, str] = field(default_factory=dict)
    train_args: dict[str, Any] = field(default_factory=dict)
    date: str | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        what = " ".join(word for word in (self.architecture, self.task) if word) or "weights"
        return f"<Weights: {what}, {self.count:,} values in {len(self.tensors)} tensors, {self}>"

    def __str__(self) -> str:
        return str(self.path or self.format)

    @property
    def count(self) -> int:
        """The number of values in all tensors, buffers included."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def in_depth_order(names: Iterable[str]) -> list[str]:
    """Names with their numbers in order of size: `model.2` before `model.10`."""
    return sorted(names, key=lambda name: [int(p) if p.isdigit() else p for p in _PARTS(name)])


# Split at numbers: text and digits take turns, so that like is compared with like.
_PARTS = re.compile(r"([0-9]{1,18})").split


def buffers_among(names: Iterable[str]) -> frozenset[str]:
    """The names of buffers, where nothing but the names is known."""
    return frozenset(name for name in names if looks_like_buffer(name))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, dtypes, shapes and values, in order of the names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        if tensor.numel():
            sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
