"""Restricted loading of a `.pt` file: `torch.load(weights_only=True)`, and less than that.

A checkpoint of Ultralytics holds the network itself as an object. Its classes are on the
allow-list here by name only: in their place stands an inert class that takes what the
file says and does nothing, so no constructor, `__setstate__` or attribute of a real class
is ever reached, and old checkpoints load whose classes are long gone. Everything else is
refused. There is no other way in: no fallback, no environment variable.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import torch

from labkit.core.errors import FileError
from labkit.weights import archive
from labkit.weights.archive import BrokenArchiveError
from labkit.weights.pickle_scan import RefusedError, globals_named, known, scan

# Classes of networks, and the plain values beside them in Ultralytics' checkpoints.
ALLOWED = re.compile(
    r"""
      torch\.nn\.modules(\.\w+)*\.[A-Z]\w*
    | ultralytics\.(nn|yolo|models)(\.\w+)*\.(v\d+)?[A-Z]\w*
    | ultralytics\.utils\.(loss|tal)\.(v\d+)?[A-Z]\w*
    | ultralytics\.utils\.IterableSimpleNamespace
    | models\.(yolo|common|experimental)\.[A-Z]\w*         # YOLOv5's own repository
    | torchvision\.transforms\.\w+\.[A-Z]\w*               # a classifier's preprocessing
    | (builtins\.)getattr                                  # `Detect.forward`, an enum's member
    | numpy\.dtype | numpy\.dtypes\.\w+ | numpy\._?core\.multiarray\.scalar
    | pathlib(\._local)?\.(Posix|Windows|PurePosix|PureWindows)Path
    | types\.SimpleNamespace | argparse\.Namespace
    """,
    re.VERBOSE | re.ASCII,
)
PICKLE = 64 * 2**20

_lock = threading.RLock()


class Inert:
    """In place of an object: what it was to be made with, and what it was to hold.

    Attributes:
        origin: the full name of the class or function, a class attribute.
        arguments: what it was to be called with.
        state: what it was to be filled with.
    """

    origin = ""
    arguments: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *arguments: Any) -> Inert:
        self = super().__new__(cls)
        self.arguments, self.state = arguments, {}
        return self

    def __init__(self, *arguments: Any) -> None:
        """Do nothing: a call of a function that was allowed comes here too."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2:
            state = state[0]
        if isinstance(state, dict):
            self.state = state


def load(file: BinaryIO, name: object) -> Any:
    """What a checkpoint holds: containers, numbers, texts, tensors, and `Inert` objects.

    Args:
        file: opened for reading in binary.
        name: what to call it in an error.

    Raises:
        FileError: it is not a checkpoint, is damaged, or asks for more than a network needs; the
            message names the offending global.
    """
    _check_beginning(file, name)
    pickle = b""
    try:
        found = archive.records(file)
        if "data.pkl" not in found:
            raise BrokenArchiveError("it is a zip file, and not one that torch.save wrote")
        if found["data.pkl"][1] > PICKLE:
            raise BrokenArchiveError(f"its pickle has more than {PICKLE:,} bytes")
        pickle = archive.read(file, found, "data.pkl")
        storages = {key[5:]: size for key, (_, size) in found.items() if key.startswith("data/")}
        names = scan(pickle, _allowed, storages)
    except (BrokenArchiveError, RefusedError) as error:
        raise FileError(f"{name} is refused: {error}{_asks(pickle, str(error))}") from None
    file.seek(0)
    try:
        with _only(names):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # whatever torch makes of what is left of a damaged file
        reason = str(error).partition("\n")[0].partition(" (Could")[0].strip()
        raise FileError(f"{name} is damaged: {reason[:200] or type(error).__name__}") from None


def _allowed(name: str) -> bool:
    return ALLOWED.fullmatch(name) is not None


def _asks(pickle: bytes, reason: str = "") -> str:
    """`; it asks for posix.system`, where a pickle does and the reason does not name it yet."""
    for name in globals_named(pickle):
        if not (known(name) or _allowed(name) or name in reason):
            return f"; it asks for {name}"
    return ""


def _check_beginning(file: BinaryIO, name: object) -> None:
    """Refuse what is not a zip file, and name what it seems to be."""
    begins = file.read(4)
    if begins == b"PK\x03\x04":
        return
    begins += file.read(PICKLE)
    if not begins:
        raise FileError(f"{name} is empty")
    if b"\0ustar" in begins[:512]:
        raise FileError(f"{name} is refused: it is in torch's tar format of before 2018")
    if begins[:1] == b"\x80" or globals_named(begins):
        raise FileError(
            f"{name} is refused: it is a bare pickle, not the zip file that torch.save writes "
            f"since torch 1.6{_asks(begins)}"
        )
    if begins[8:9] == b"{":
        raise FileError(f"{name} is not a checkpoint; it looks like a .safetensors file: rename it")
    text = begins.isascii() and b"\0" not in begins
    raise FileError(f"{name} is not a checkpoint, but {'a text file' if text else 'other data'}")


@contextmanager
def _only(names: set[str]) -> Iterator[None]:
    """Inert classes under these names as all that torch allows beyond its own list.

    torch keeps that list for the whole process. What others have put on it (Ultralytics
    registers its real classes for good) is set aside meanwhile, and comes back.
    """
    inert = [
        (type(name.rpartition(".")[2], (Inert,), {"origin": name}), name) for name in sorted(names)
    ]
    with _lock:
        before = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(inert)  # type: ignore[arg-type]
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)
