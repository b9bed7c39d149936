"""Reading the weights of a `.tflite` file: a FlatBuffer by TensorFlow Lite's schema.

A FlatBuffer is bytes full of offsets (https://flatbuffers.dev/internals). Every one of
them is followed here only where it stays inside the file. Ultralytics appends its
metadata as a zip file.

Why not the reader that is generated from the schema (`ai_edge_litert.schema_py_generated`):
importing it runs the package's `__init__`, which loads LiteRT's runtime (libLiteRt.so, 8 MB
of native code, its symbols global; 27 ms and 6 MB of memory in version 2.3), and reading an
untrusted file needs no runtime. flatbuffers' Python package has no verifier (a text longer
than the file comes back cut), so that every check here would stay: only `_Table` would go.
The generated schema is the oracle of a test instead.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.core.errors import FileError
from labkit.weights import archive

# schema.fbs, enum TensorType.
DTYPES = {
    0: torch.float32,
    1: torch.float16,
    2: torch.int32,
    3: torch.uint8,
    4: torch.int64,
    6: torch.bool,
    7: torch.int16,
    8: torch.complex64,
    9: torch.int8,
    10: torch.float64,
    11: torch.complex128,
    12: torch.uint64,
    15: torch.uint32,
    16: torch.uint16,
    18: torch.bfloat16,
}
INT4 = 17
TENSORS, METADATA, LARGEST = 100_000, 2**20, 2**31


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors that have values in the file, and metadata.

    Raises:
        FileError: it is not a TensorFlow Lite file, or a damaged one.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise FileError(f"{path} is not a TensorFlow Lite file: it lacks the mark TFL3")
        if size >= LARGEST:
            raise FileError(f"{path} has {size:,} bytes; labkit reads less than {LARGEST:,}")
        file.seek(0)
        data = file.read()
    try:
        tensors, metadata = _model(data)
    except (struct.error, ValueError, RuntimeError) as error:
        raise FileError(f"{path} cannot be read as TensorFlow Lite: {error}") from None
    if not tensors:
        raise FileError(f"{path} holds no weights: none of its tensors has values")
    return tensors, {**metadata, **_appended(data)}


def _model(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    root = _Table(data, _number(data, "<I", 0))
    buffers = list(root.tables(4))
    tensors: dict[str, Tensor] = {}
    budget = 2 * len(data)
    for subgraph in root.tables(2):
        for table in subgraph.tables(0):
            index = table.scalar(2, "<I", 0)
            if index >= len(buffers):
                raise ValueError(f"a tensor takes its values from buffer {index}")
            raw = _values(data, buffers[index])
            if not raw:
                continue  # what the network computes has no values of its own
            # Values, names and shapes may be shared: each time counts.
            budget -= len(raw) + len(table.bytes(3)) + len(table.bytes(0, 4))
            if budget < 0 or len(tensors) >= TENSORS:
                raise ValueError("its tensors would take many times its own size")
            name = _free(table.text(3) or f"tensor {len(tensors)}", tensors)
            if table.present(6):
                raise ValueError(f"{name!r:.80} is sparse, which labkit does not read")
            kind = table.scalar(1, "<b", 0)
            if kind in DTYPES or kind == INT4:
                tensors[name] = _tensor(name, raw, kind, table.numbers(0, "i"))
    metadata = {"description": root.text(3), "schema": root.scalar(0, "<I", 0)}
    return tensors, {name: value for name, value in metadata.items() if value}


def _values(data: bytes, buffer: _Table) -> memoryview:
    """The bytes of a buffer: in it, or (beyond 2 GB) by an offset from the file's start."""
    offset, size = buffer.scalar(1, "<Q", 0), buffer.scalar(2, "<Q", 0)
    if offset > 1 and size:
        if offset + size > len(data):
            raise ValueError("a buffer lies outside of the file")
        return memoryview(data)[offset : offset + size]
    return buffer.bytes(0)


def _tensor(name: str, raw: memoryview, kind: int, shape: tuple[int, ...]) -> Tensor:
    count = math.prod(shape)
    size = 0.5 if kind == INT4 else DTYPES[kind].itemsize
    if any(extent < 0 for extent in shape) or math.ceil(count * size) != len(raw):
        raise ValueError(f"{name!r:.80} of shape {shape} cannot have {len(raw):,} bytes")
    if kind == INT4:  # two to a byte, the first in the low half
        packed = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
        halves = torch.stack([packed & 15, packed >> 4], dim=1).flatten()[:count]
        return ((halves.to(torch.int8) ^ 8) - 8).reshape(shape)
    return torch.frombuffer(bytearray(raw), dtype=DTYPES[kind]).reshape(shape)


def _free(name: str, taken: dict[str, Tensor]) -> str:
    """The name; with a number where another tensor has it: names need not be unique there."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _appended(data: bytes) -> dict[str, Any]:
    """Ultralytics' metadata, in a zip file after the FlatBuffer; none in other files."""
    file = io.BytesIO(data)
    try:
        archive.check_end(file)
        with zipfile.ZipFile(file) as appended, appended.open("metadata.json") as entry:
            metadata = json.loads(entry.read(METADATA))
    except (archive.BrokenArchiveError, zipfile.BadZipFile, KeyError, ValueError, OSError):
        return {}
    except (NotImplementedError, RuntimeError, EOFError, RecursionError, struct.error):
        return {}
    return (
        {str(key): value for key, value in metadata.items()} if isinstance(metadata, dict) else {}
    )


def _number(data: bytes, kind: str, place: int) -> Any:
    if not 0 <= place <= len(data) - struct.calcsize(kind):
        raise ValueError("an offset leads outside of the file")
    return struct.unpack_from(kind, data, place)[0]


@dataclass(frozen=True)
class _Table:
    """A table of a FlatBuffer: fields by their place in the schema, some of them absent."""

    data: bytes
    place: int

    def _field(self, index: int) -> int | None:
        """Where the value of a field lies; its vtable says."""
        vtable = self.place - _number(self.data, "<i", self.place)
        entry = 4 + 2 * index
        if entry >= _number(self.data, "<H", vtable):
            return None
        offset = _number(self.data, "<H", vtable + entry)
        return self.place + offset if offset else None

    def _target(self, index: int) -> int | None:
        field = self._field(index)
        return None if field is None else field + _number(self.data, "<I", field)

    def present(self, index: int) -> bool:
        return self._field(index) is not None

    def scalar(self, index: int, kind: str, default: int) -> int:
        field = self._field(index)
        return default if field is None else int(_number(self.data, kind, field))

    def bytes(self, index: int, size: int = 1) -> memoryview:
        """A vector of values of `size` bytes each, as it lies there."""
        target = self._target(index)
        if target is None:
            return memoryview(b"")
        length = size * _number(self.data, "<I", target)
        if target + 4 + length > len(self.data):
            raise ValueError("a vector is longer than the file")
        return memoryview(self.data)[target + 4 : target + 4 + length]

    def numbers(self, index: int, kind: str) -> tuple[int, ...]:
        size = struct.calcsize(f"<{kind}")
        raw = self.bytes(index, size)
        return struct.unpack(f"<{len(raw) // size}{kind}", raw)

    def text(self, index: int) -> str:
        return str(self.bytes(index), "utf-8", "replace")[:1000]

    def tables(self, index: int) -> Iterator[_Table]:
        """A vector of tables: offsets, each from its own place."""
        target = self._target(index)
        raw = self.bytes(index, 4)
        if len(raw) > 4 * TENSORS:
            raise ValueError(f"it has {len(raw) // 4:,} parts of one kind")
        for i in range(len(raw) // 4):
            place = (target or 0) + 4 + 4 * i
            yield _Table(self.data, place + _number(self.data, "<I", place))
