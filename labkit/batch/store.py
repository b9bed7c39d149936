"""Where a batch's files lie: a local folder, or anything that fsspec reaches."""

from __future__ import annotations

import errno
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labkit.core.errors import LabError
from labkit.core.files import write_atomically, write_beside

LOCAL = ("file", "local")


def open_store(out: str | os.PathLike[str]) -> Store:
    """The store of a folder's name: a path, or a URL such as `s3://bucket/runs`.

    Raises:
        LabError: a URL that fsspec does not know, or whose package is not installed.
    """
    name = os.fspath(out)
    protocol, separator, rest = name.partition("://")
    if not separator:
        return LocalStore(name)
    if protocol in LOCAL:
        return LocalStore(rest)
    return RemoteStore(name)


class Store(ABC):
    """Files by name, `/` between folders; a file is there as a whole or not at all."""

    local = False

    @abstractmethod
    def where(self, name: str = "") -> str:
        """The path or URL of a file, for messages and for other programs."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A file's content; None where it is not there."""

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those files that are there."""
        found = ((name, self.read(name)) for name in names)
        return {name: data for name, data in found if data is not None}

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file, over an older one."""

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Write several files, in any order."""
        for name, data in files.items():
            self.write(name, data)

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; False where another process was first."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The files in a folder and below it, by their names within it, sorted."""

    @abstractmethod
    def clear(self, folder: str, keep: str) -> None:
        """Remove what a folder holds, the file `keep` aside."""

    @abstractmethod
    def touch(self, name: str, data: bytes) -> None:
        """Make a file's age zero; `data` is what it holds."""

    @abstractmethod
    def age(self, name: str) -> float | None:
        """Seconds since a file was written or touched; None where that is not known."""


class LocalStore(Store):
    """A folder of this machine, or one that it shares with others."""

    local = True

    def __init__(self, root: str) -> None:
        self.root = Path(root).expanduser()

    def where(self, name: str = "") -> str:
        """The path, as short or long as it was given."""
        return str(self.root / name)

    def read(self, name: str) -> bytes | None:
        """The content; None also where a folder of that name is."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write to a temporary file, then rename it."""
        write_atomically(self.root / name, data)

    def create(self, name: str, data: bytes) -> bool:
        """A link to a temporary file: it fails where the name exists, and is never torn.

        File systems without links (FAT) get a file that is made first and filled after.
        """
        path = self.root / name
        temporary = write_beside(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            try:
                with open(path, "xb") as file:
                    file.write(data)
            except FileExistsError:
                return False
        finally:
            with suppress(OSError):
                os.unlink(temporary)
        return True

    def remove(self, name: str) -> None:
        """Unlink."""
        with suppress(FileNotFoundError, NotADirectoryError):
            (self.root / name).unlink()

    def names(self, folder: str) -> list[str]:
        """Half-written files, whose names begin with a dot, are left out."""
        return sorted(_files(str(self.root / folder)))

    def clear(self, folder: str, keep: str) -> None:
        """What cannot be removed stays."""
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(self.root / folder)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.name != keep:
                    with suppress(OSError):
                        os.unlink(entry)

    def touch(self, name: str, data: bytes) -> None:
        """Set the time alone, which also a full disk allows."""
        try:
            os.utime(self.root / name)
        except FileNotFoundError:
            self.write(name, data)

    def age(self, name: str) -> float | None:
        """By the modification time."""
        try:
            return time.time() - (self.root / name).stat().st_mtime
        except OSError:
            return None


def _files(folder: str, before: str = "") -> Iterator[str]:
    """The names of plain files below a folder; a `Path` for each would take most of the time."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{before}{entry.name}/")
            elif entry.is_file() and not entry.name.startswith("."):
                yield before + entry.name


class RemoteStore(Store):
    """What fsspec reaches by a URL.

    Object stores write a file as a whole. `create` is safe against somebody who does the
    same at the same moment where the store has an exclusive creation (`s3://`, `gs://`,
    `memory://`); elsewhere it only looks first.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        protocol = url.partition("://")[0]
        try:
            self.fs, self.root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise LabError(f"{url} cannot be reached: {error}") from None
        self.url = url.rstrip("/")
        self.root = self.root.rstrip("/")
        self.protocol = protocol

    def where(self, name: str = "") -> str:
        """The URL."""
        return f"{self.url}/{name}" if name else self.url

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def _reaching(self, name: str) -> Iterator[None]:
        """What a store's own package raises (no network, no right) as an OSError."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise OSError(errno.EIO, text, self.where(name)) from error

    def read(self, name: str) -> bytes | None:
        """The content."""
        with suppress(FileNotFoundError, IsADirectoryError), self._reaching(name):
            return bytes(self.fs.cat_file(self._path(name)))
        return None

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Many at once, where the store can."""
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}
        with self._reaching(""):
            found: dict[str, Any] = self.fs.cat(list(paths), on_error="omit")
        return {paths[path]: bytes(data) for path, data in found.items() if path in paths}

    def write(self, name: str, data: bytes) -> None:
        """One upload."""
        self.write_many({name: data})

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Many at once, where the store can."""
        paths = {self._path(name): data for name, data in files.items()}
        with self._reaching(next(iter(files), "")):
            for folder in {path.rpartition("/")[0] for path in paths}:
                self.fs.makedirs(folder, exist_ok=True)
            self.fs.pipe(paths)

    def create(self, name: str, data: bytes) -> bool:
        """Exclusive where the store can."""
        path = self._path(name)
        with suppress(FileExistsError), self._reaching(name):
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.pipe_file(path, data, mode="create")
            return True
        return False

    def remove(self, name: str) -> None:
        """Delete."""
        with suppress(FileNotFoundError), self._reaching(name):
            self.fs.rm_file(self._path(name))

    def names(self, folder: str) -> list[str]:
        """As the store lists them now."""
        self.fs.invalidate_cache()
        top = self._path(folder).rstrip("/")
        with self._reaching(folder):
            found = self.fs.find(top)
        return sorted(path.removeprefix(top).lstrip("/") for path in found)

    def clear(self, folder: str, keep: str) -> None:
        """File by file: there may be no folders."""
        if paths := [self._path(f"{folder}/{n}") for n in self.names(folder) if n != keep]:
            with self._reaching(folder):
                self.fs.rm(paths)

    def touch(self, name: str, data: bytes) -> None:
        """Write it again."""
        self.write(name, data)

    def age(self, name: str) -> float | None:
        """By the store's clock."""
        self.fs.invalidate_cache()
        with suppress(FileNotFoundError, NotImplementedError):
            return time.time() - float(self.fs.modified(self._path(name)).timestamp())
        return None
