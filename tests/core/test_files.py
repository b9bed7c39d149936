from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from labkit.core.files import write_atomically


@pytest.mark.parametrize("data", ["größer\n", b"\x00\xff", "", b""])
def test_what_is_written_is_what_is_read(tmp_path, data):
    path = write_atomically(tmp_path / "made" / "for" / "it.txt", data)
    assert path == tmp_path / "made" / "for" / "it.txt"
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert [p.name for p in path.parent.iterdir()] == ["it.txt"]


def test_a_path_may_be_text(tmp_path):
    assert write_atomically(str(tmp_path / "a"), "x").read_text() == "x"


def test_the_new_one_replaces_the_old_one(tmp_path):
    path = tmp_path / "a"
    path.write_text("old, and longer")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old, and longer", "an open file must not change underneath"
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["fdopen", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=type)
def test_whatever_fails_the_old_one_stays_and_nothing_is_left(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_file_is_complete_before_it_gets_its_name(tmp_path, monkeypatch):
    """What a kill at the moment of renaming leaves is the old file."""
    path, seen = tmp_path / "a", []
    path.write_text("old")
    replace = os.replace

    def look(source, target):
        seen.append((path.read_text(), Path(source).read_text(), os.path.dirname(source)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    write_atomically(path, "new")
    assert seen == [("old", "new", str(tmp_path))], "written in full, in the same folder"


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_follows_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        path = write_atomically(tmp_path / "a", "x")
        assert os.umask(mask) == mask, "the umask is as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
