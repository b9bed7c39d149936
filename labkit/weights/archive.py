"""The zip file around a checkpoint: checked so that no two readers see different ones.

`torch.save` stores every record plainly, one after the other, and says the same in the
central directory as before each record. Where that is not so, one reader (ours, which
checks) could see another file than the next (torch's, which loads).
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

LOCAL = struct.Struct("<4s5H3I2H")  # the header before each record (PKWARE APPNOTE, 4.3.7)
END = struct.Struct("<4s4H2IH")  # end of central directory (4.3.16)
END64 = struct.Struct("<4sQ2H2I4Q")  # and its 64-bit twin, before a locator (4.3.14, 4.3.15)
LOCATOR = 20
DIRECTORY, RECORDS, BLOCK = 32 * 2**20, 100_000, 2**20
DEFERRED = 0x8  # sizes and checksum follow the record
ALLOWED = DEFERRED | 0x800  # names in UTF-8


class BrokenArchiveError(Exception):
    """What is wrong with the archive, in a few words."""


def records(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Where each record lies, `(offset, size)` in bytes, by its name without the folder.

    Raises:
        BrokenArchiveError: it is not laid out as `torch.save` does.
    """
    directory = check_end(file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
            start = archive.start_dir
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, OSError) as error:
        raise BrokenArchiveError(f"its directory cannot be read ({error})") from None
    found: dict[str, tuple[int, int]] = {}
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise BrokenArchiveError(
            "it is TorchScript, a program: load the checkpoint that it came from"
        )
    folders, end = set(), 0
    for entry in entries:
        folder, slash, name = entry.filename.partition("/")
        folders.add(folder)
        if name in found:
            raise BrokenArchiveError(f"it has two records {entry.filename!r:.80}")
        if not slash or not entry.filename.isascii() or ".." in entry.filename:
            raise BrokenArchiveError(f"torch.save does not write a record {entry.filename!r:.80}")
        if entry.header_offset < end:
            raise BrokenArchiveError(f"{entry.filename!r:.80} overlaps the record before it")
        offset = _check(file, entry)
        end = offset + entry.file_size
        found[name] = (offset, entry.file_size)
    if start != directory or end > start:
        raise BrokenArchiveError("its records reach into its directory")
    if len(folders) != 1:
        raise BrokenArchiveError("its records are not in one folder")
    return found


def read(file: BinaryIO, found: Mapping[str, tuple[int, int]], name: str) -> bytes:
    """The bytes of one record."""
    offset, size = found[name]
    file.seek(offset)
    return file.read(size)


def check_end(file: BinaryIO) -> int:
    """Where the directory begins; it ends the file, and is not larger than a network needs."""
    size = file.seek(0, os.SEEK_END)
    length = min(size, END64.size + LOCATOR + END.size)
    file.seek(size - length)
    tail = file.read(length)
    end = tail[-END.size :]
    if len(end) < END.size or not end.startswith(b"PK\x05\x06"):
        raise BrokenArchiveError("it is cut short: the directory at its end is missing")
    *_, entries, extent, start, comment = END.unpack(end)
    if comment or entries > RECORDS or extent > DIRECTORY:
        raise BrokenArchiveError(f"a directory of {entries:,} records, {extent:,} bytes is refused")
    if tail[-END.size - LOCATOR :].startswith(b"PK\x06\x07"):  # the same in 64 bits
        *_, entries64, extent64, start64 = END64.unpack(tail[: END64.size].rjust(END64.size))
        if (entries64, extent64, start64) != (entries, extent, start):
            raise BrokenArchiveError("it has two directories")
    return int(start)


def _check(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the record begins, if what stands before it agrees with the directory."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & ~ALLOWED:
        raise BrokenArchiveError(f"{entry.filename!r:.80} is compressed or encrypted")
    file.seek(entry.header_offset)
    header = file.read(LOCAL.size)
    if len(header) < LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise BrokenArchiveError(f"there is no record where {entry.filename!r:.80} should begin")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra = LOCAL.unpack(header)
    name = file.read(name_length)
    deferred = bool(flags & DEFERRED)
    agreed = (
        name == entry.orig_filename.encode()
        and method == entry.compress_type
        and flags == entry.flag_bits
        and entry.file_size == entry.compress_size
        and (deferred or (crc, packed, size) == (entry.CRC, entry.compress_size, entry.file_size))
    )
    if not agreed:
        raise BrokenArchiveError(f"its directory and the header of {entry.filename!r:.80} disagree")
    offset = entry.header_offset + LOCAL.size + name_length + extra
    if entry.CRC and _checksum(file, offset, entry.file_size) != entry.CRC:  # 0: not taken
        raise BrokenArchiveError(f"{entry.filename!r:.80} has changed since it was written")
    return int(offset)


def _checksum(file: BinaryIO, offset: int, size: int) -> int:
    file.seek(offset)
    checksum = 0
    while size > 0 and (block := file.read(min(size, BLOCK))):
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum
