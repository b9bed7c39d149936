"""Reading the weights of an `.onnx` file: its initializers, by name (onnx.proto, TensorProto).

The graph is not run, checked or optimized. Values kept in a file of their own ("external
data") are read from inside the model's folder alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.core.errors import FileError

# TensorProto.DataType: bytes per value, and torch's type; 4-bit ones are unpacked to int8.
DTYPES: dict[int, tuple[int, torch.dtype]] = {
    1: (4, torch.float32),
    2: (1, torch.uint8),
    3: (1, torch.int8),
    4: (2, torch.uint16),
    5: (2, torch.int16),
    6: (4, torch.int32),
    7: (8, torch.int64),
    9: (1, torch.bool),
    10: (2, torch.float16),
    11: (8, torch.float64),
    12: (4, torch.uint32),
    13: (8, torch.uint64),
    16: (2, torch.bfloat16),
    17: (1, torch.float8_e4m3fn),
    18: (1, torch.float8_e4m3fnuz),
    19: (1, torch.float8_e5m2),
    20: (1, torch.float8_e5m2fnuz),
}
FOUR_BIT = {21: False, 22: True}  # UINT4 and INT4: whether signed
LARGEST = 2**31  # protobuf's own limit


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata.

    Raises:
        FileError: it is not ONNX, is damaged, or points outside of its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    size = path.stat().st_size
    if size >= LARGEST:
        raise FileError(f"{path} has {size:,} bytes; an ONNX file has less than {LARGEST:,}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise FileError(f"{path} is not an ONNX file, or is cut short") from None
    if not model.ir_version or not model.HasField("graph"):
        raise FileError(f"{path} is not an ONNX file: it has no graph")
    tensors: dict[str, Tensor] = {}
    budget = 2 * (size + _folder_size(path, model))
    for proto in model.graph.initializer:
        name = text(proto.name)
        budget -= math.prod(proto.dims)
        if name in tensors or any(extent < 0 for extent in proto.dims) or budget < 0:
            problem = "is there twice" if name in tensors else "has an impossible shape"
            raise FileError(f"{path} is damaged: tensor {name!r:.80} {problem}")
        tensors[name] = _tensor(path, proto)
    if not tensors:
        raise FileError(f"{path} holds no weights: its graph has no initializers")
    metadata: dict[str, Any] = {
        text(entry.key): text(entry.value) for entry in model.metadata_props
    }
    metadata["operations"] = len(model.graph.node)
    metadata["opset"] = max((entry.version for entry in model.opset_import), default=None)
    metadata["producer"] = f"{text(model.producer_name)} {text(model.producer_version)}".strip()
    return tensors, metadata


def text(value: str | bytes) -> str:
    """What protobuf gives for a string; bytes, where it is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _tensor(path: Path, proto: Any) -> Tensor:
    shape, kind = tuple(proto.dims), proto.data_type
    count = math.prod(shape)
    four = kind in FOUR_BIT
    if kind not in DTYPES and not four:
        raise FileError(f"{path}: tensor {proto.name!r:.80} has a type that labkit does not know")
    size, dtype = (1, torch.uint8) if four else DTYPES[kind]
    expected = (count + 1) // 2 if four else count * size
    raw = _bytes(path, proto, kind, expected)
    if len(raw) != expected:
        raise FileError(
            f"{path} is damaged: tensor {proto.name!r:.80} should have {expected:,} bytes, "
            f"and has {len(raw):,}"
        )
    if four:
        return _unpacked(raw, count, signed=FOUR_BIT[kind]).reshape(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def _bytes(path: Path, proto: Any, kind: int, expected: int) -> bytes:
    """The little-endian values, wherever TensorProto keeps them."""
    if proto.data_location == 1:
        return _external(path, proto, expected)
    if proto.HasField("raw_data"):
        return bytes(proto.raw_data)
    fields: dict[str, tuple[Any, str]] = {
        "float_data": (proto.float_data, "<f4"),
        "double_data": (proto.double_data, "<f8"),
        "int64_data": (proto.int64_data, "<i8"),
        "uint64_data": (proto.uint64_data, "<u8"),
        "int32_data": (proto.int32_data, "<i4"),
    }
    for values, stored in fields.values():
        if len(values):
            return _narrowed(np.fromiter(values, stored, len(values)), kind)
    return b""


def _narrowed(values: np.ndarray[Any, Any], kind: int) -> bytes:
    """Values that TensorProto keeps in wider fields: 8 and 16 bits in int32, uint32 in uint64."""
    size = 1 if kind in FOUR_BIT else DTYPES[kind][0]
    if values.dtype.kind in "iu" and values.dtype.itemsize > size:
        return values.astype(f"<u{size}").tobytes()
    return values.tobytes()


def _unpacked(raw: bytes, count: int, signed: bool) -> Tensor:
    """4-bit values, the first of a pair in the low half of its byte."""
    packed = torch.frombuffer(bytearray(raw or b"\0"), dtype=torch.uint8)
    halves = torch.stack([packed & 15, packed >> 4], dim=1).flatten()[:count].to(torch.int8)
    return (halves ^ 8) - 8 if signed else halves


def _external(path: Path, proto: Any, expected: int) -> bytes:
    entries = _entries(proto)
    file = _beside(path, entries.get("location", ""))
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", expected))
    except ValueError:
        offset = length = -1
    size = file.stat().st_size
    if offset < 0 or length != expected or offset + length > size:
        raise FileError(
            f"{path} is damaged: tensor {proto.name!r:.80} should have {expected:,} bytes in "
            f"{file.name}, and some of them are missing"
        )
    with open(file, "rb") as data:
        data.seek(offset)
        return data.read(length)


def _beside(path: Path, location: str) -> Path:
    """The file of external data, if it lies in the model's folder, links followed."""
    folder = path.resolve().parent
    if "\0" not in location and location:
        file = (folder / location).resolve()
        if not file.is_relative_to(folder):
            raise FileError(
                f"{path} is refused: it keeps values outside of its folder, in {location!r:.120}"
            )
        if file.is_file():
            return file
    raise FileError(f"{path} keeps its values in {location!r:.120}, which is not there")


def _folder_size(path: Path, model: Any) -> int:
    """Bytes of all files of external data; every one is checked before any is read."""
    return sum(_beside(path, location).stat().st_size for location in set(_locations(model)))


def _locations(model: Any) -> Iterator[str]:
    for proto in model.graph.initializer:
        if proto.data_location == 1:
            yield _entries(proto).get("location", "")


def _entries(proto: Any) -> dict[str, str]:
    return {text(entry.key): text(entry.value) for entry in proto.external_data}
