"""Files of a batch: in a folder and in a store of fsspec, by one set of rules."""

from __future__ import annotations

import os
import threading

import pytest

from labkit.batch.store import LocalStore, RemoteStore, open_store
from labkit.core.errors import LabError
from tests.batch.stubs import PLACES, place


@pytest.fixture(params=PLACES)
def store(request, tmp_path):
    return open_store(place(request.param, tmp_path))


def test_a_url_of_files_is_a_folder(tmp_path):
    assert isinstance(open_store(f"file://{tmp_path}"), LocalStore)
    assert isinstance(open_store(tmp_path), LocalStore)
    assert isinstance(open_store("memory://x"), RemoteStore)
    assert open_store(f"file://{tmp_path}").where("a") == str(tmp_path / "a")
    assert open_store("memory://x/y/").where("a/b") == "memory://x/y/a/b"
    assert open_store("s3://bucket/runs").where("a/b") == "s3://bucket/runs/a/b"


@pytest.mark.parametrize("url", ["nosuch://x", "s3nosuch://bucket/runs"])
def test_an_unknown_url_is_named(url):
    with pytest.raises(LabError, match=f"{url}.*cannot be reached"):
        open_store(url)


def test_what_is_written_is_what_is_read(store):
    assert store.read("a/b.txt") is None
    assert store.age("a/b.txt") is None
    assert store.names("") == []
    store.write("a/b.txt", b"one")
    store.write_many({"a/c/d": b"\x00\xff", "e": b""})
    store.write("a/b.txt", b"two")
    assert store.read("a/b.txt") == b"two"
    assert store.read("a") is None, "a folder is no file"
    assert store.read_many(["e", "nothing", "a/c/d"]) == {"e": b"", "a/c/d": b"\x00\xff"}
    assert store.read_many([]) == {}
    assert store.names("") == ["a/b.txt", "a/c/d", "e"]
    assert store.names("a") == ["b.txt", "c/d"]
    assert 0 <= store.age("e") < 60
    store.remove("e")
    store.remove("e")
    assert store.names("") == ["a/b.txt", "a/c/d"]


def test_a_folder_is_cleared_but_for_one_file(store):
    store.clear("run", "keep")
    store.write_many({"run/keep": b"1", "run/a": b"1", "run/b/keep": b"1", "other/a": b"1"})
    store.clear("run", "keep")
    assert store.names("") == ["other/a", "run/keep"]


def test_a_touch_makes_a_file_young(tmp_path):
    store = LocalStore(str(tmp_path))
    store.touch("a", b"x")
    os.utime(tmp_path / "a", (1000, 1000))
    assert store.age("a") > 1e6
    store.touch("a", b"x")
    assert store.age("a") < 60
    assert store.read("a") == b"x"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_only_one_of_many_creates_a_file(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise PermissionError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    store, first = LocalStore(str(tmp_path)), []
    for round_ in range(20):
        gate = threading.Barrier(8)

        def create(who, name=f"claims/{round_}", gate=gate):
            gate.wait()
            if store.create(name, f"{who}".encode()):
                first.append((name, who))

        threads = [threading.Thread(target=create, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(first) == len(dict(first)) == 20
    assert {name: int(store.read(name)) for name, _ in first} == dict(first)
    assert len(list((tmp_path / "claims").iterdir())) == 20, "something is left"


def test_a_store_without_folders_creates_once_too(store):
    assert store.create("a/b", b"1")
    assert not store.create("a/b", b"2")
    assert store.read("a/b") == b"1"
