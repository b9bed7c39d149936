"""What `labkit inspect` shows: a weight file in three small tables, or as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from labkit.core.formatting import file_size
from labkit.core.table import Table
from labkit.weights.anatomy import kind_of
from labkit.weights.file import Weights
from labkit.weights.metadata import printable

LARGEST = 8
# What a reader asks first of the hundred training arguments.
ARGUMENTS = ("data", "model", "epochs", "imgsz", "batch", "optimizer", "lr0", "freeze", "seed")


def summary(weights: Weights, largest: int = LARGEST) -> dict[str, Any]:
    """The facts as JSON values; tensors by kind and dtype, and the largest ones."""
    return {
        "path": str(weights.path) if weights.path else None,
        "format": weights.format,
        "size": weights.size,
        "sha256": weights.sha256,
        "architecture": weights.architecture,
        "task": weights.task,
        "names": {str(index): name for index, name in weights.names.items()},
        "date": weights.date,
        "train_args": weights.train_args,
        "yaml_problem": weights.yaml_problem,
        "about": weights.about,
        "tensors": len(weights.tensors),
        "values": weights.count,
        "bytes": weights.nbytes,
        "kinds": _kinds(weights),
        "largest": [
            {"tensor": name, "shape": list(tensor.shape), "dtype": _dtype(tensor)}
            | {"values": tensor.numel(), "bytes": tensor.nbytes}
            for name, tensor in _largest(weights, largest)
        ],
    }


def tables(weights: Weights, largest: int = LARGEST) -> list[Table]:
    """The same as tables to read: the facts, the tensors by kind and dtype, the largest ones."""
    facts = [
        ("file", weights.path),
        ("format", weights.format),
        ("size", f"{file_size(weights.size)} ({weights.size:,} bytes)"),
        ("SHA-256", weights.sha256),
        ("architecture", weights.architecture),
        ("task", weights.task),
        ("classes", _classes(weights.names)),
        ("trained with", _arguments(weights.train_args)),
        ("date", weights.date),
        ("tensors", f"{len(weights.tensors):,} with {weights.count:,} values"),
        *((name, value) for name, value in weights.about.items() if isinstance(value, str)),
    ]
    if weights.yaml_problem:
        facts.append(("network", f"its description cannot be used: {weights.yaml_problem}"))
    total = max(weights.nbytes, 1)
    return [
        Table({"what": name, "value": printable(value)} for name, value in facts if value),
        Table(
            {**row, "values": f"{row['values']:,}", "bytes": file_size(row["bytes"])}
            for row in _kinds(weights)
        ),
        Table(
            {
                "largest": printable(name),
                "shape": "x".join(map(str, tensor.shape)) or "scalar",
                "dtype": _dtype(tensor),
                "values": f"{tensor.numel():,}",
                "share": f"{tensor.nbytes / total:.1%}",
            }
            for name, tensor in _largest(weights, largest)
        ),
    ]


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _kinds(weights: Weights) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for name, tensor in weights.tensors.items():
        kind = kind_of(name, tensor, buffer=name in weights.buffers)
        found[kind, _dtype(tensor)].append(tensor)
    return [
        {
            "kind": kind,
            "dtype": dtype,
            "tensors": len(tensors),
            "values": sum(tensor.numel() for tensor in tensors),
            "bytes": sum(tensor.nbytes for tensor in tensors),
        }
        for (kind, dtype), tensors in found.items()
    ]


def _largest(weights: Weights, most: int) -> Iterable[tuple[str, Tensor]]:
    ranked = sorted(weights.tensors.items(), key=lambda item: item[1].nbytes, reverse=True)
    return ranked[:most]


def _classes(names: dict[int, str]) -> str:
    if not names:
        return ""
    shown = ", ".join(list(names.values())[:12])
    return f"{len(names)}: {shown}" + (", …" if len(names) > 12 else "")


def _arguments(arguments: dict[str, Any]) -> str:
    return " ".join(
        f"{name}={arguments[name]}" for name in ARGUMENTS if arguments.get(name) is not None
    )
