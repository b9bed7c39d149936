"""Writing files so that a kill at any moment leaves the old file or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

# The environment variable by which a batch names the file for what a notebook reports.
RESULTS = "LABKIT_RESULTS"


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write to a temporary file in the same folder, then rename it over `path`."""
    path = Path(path)
    temporary = write_beside(path, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return path


def write_beside(path: Path, data: bytes | str) -> Path:
    """Write a new hidden file into the folder of `path`, made if need be; its name.

    The file gets its permissions from the umask at its making: `tempfile` would make it
    private, and the umask cannot be asked for without setting it, for all threads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return temporary
