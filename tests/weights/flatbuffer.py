"""A tiny writer of TensorFlow Lite files, for tests: tables back to back, by schema.fbs."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import torch
from torch import Tensor

TYPES = {torch.float32: 0, torch.float16: 1, torch.int32: 2, torch.uint8: 3, torch.int64: 4}
TYPES |= {torch.bool: 6, torch.int16: 7, torch.int8: 9, torch.bfloat16: 18}


class _Writer:
    """Writes from the front: what a table refers to is put down later and linked then."""

    def __init__(self) -> None:
        self.data = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def align(self) -> None:
        self.data += bytes(-len(self.data) % 8)

    def link(self, place: int) -> None:
        """Let the offset at `place` lead to what comes next."""
        self.align()
        struct.pack_into("<I", self.data, place, len(self.data) - place)

    def table(self, **kinds: str) -> dict[str, int]:
        """A table whose fields `f0`, `f1`, … are of these kinds; the places of their values."""
        self.align()
        fields = {int(name[1:]): kind for name, kind in kinds.items()}
        slots = max(fields, default=-1) + 1
        vtable = len(self.data)
        offsets, end = {}, 8
        for index in sorted(fields):
            offsets[index] = end
            end += 8
        self.data += struct.pack("<HH", 4 + 2 * slots, end)
        for index in range(slots):
            self.data += struct.pack("<H", offsets.get(index, 0))
        self.align()
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable) + bytes(end - 4)
        return {f"f{index}": start + offset for index, offset in offsets.items()} | {"": start}

    def put(self, kind: str, place: int, value: int) -> None:
        struct.pack_into(kind, self.data, place, value)

    def vector(self, place: int, values: bytes, count: int) -> None:
        self.link(place)
        self.data += struct.pack("<I", count) + values

    def tables(self, place: int, count: int) -> list[int]:
        """A vector of `count` offsets, to be linked; their places."""
        self.link(place)
        self.data += struct.pack("<I", count)
        first = len(self.data)
        self.data += bytes(4 * count)
        return [first + 4 * i for i in range(count)]

    def linked(self, place: int, **kinds: str) -> dict[str, int]:
        made = self.table(**kinds)
        struct.pack_into("<I", self.data, place, made[""] - place)
        return made


def tflite(
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    buffers: Mapping[str, int] | None = None,
) -> bytes:
    """A model without operators that holds these tensors (or says that they are otherwise)."""
    out = _Writer()
    model = out.linked(0, f0="<I", f2="offset", f3="offset", f4="offset")
    out.put("<I", model["f0"], 3)
    out.vector(model["f3"], b"made by hand", 12)
    places = out.tables(model["f4"], len(tensors) + 1)
    out.linked(places[0])  # buffer 0 is empty
    for place, tensor in zip(places[1:], tensors.values(), strict=True):
        buffer = out.linked(place, f0="offset")
        raw = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        out.vector(buffer["f0"], raw, len(raw))
    (place,) = out.tables(model["f2"], 1)
    subgraph = out.linked(place, f0="offset")
    places = out.tables(subgraph["f0"], len(tensors) + 1)
    computed = out.linked(places[0], f3="offset")
    out.vector(computed["f3"], b"image", 5)
    for index, (place, (name, tensor)) in enumerate(
        zip(places[1:], tensors.items(), strict=True), start=1
    ):
        shape = (shapes or {}).get(name, tuple(tensor.shape))
        table = out.linked(place, f0="offset", f1="<b", f2="<I", f3="offset")
        out.put("<b", table["f1"], TYPES[tensor.dtype])
        out.put("<I", table["f2"], (buffers or {}).get(name, index))
        out.vector(table["f0"], struct.pack(f"<{len(shape)}i", *shape), len(shape))
        out.vector(table["f3"], name.encode(), len(name.encode()))
    return bytes(out.data)
