"""The zip file around a checkpoint: what zipfile reads in it, and what no two readers agree on."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch

from labkit.weights import archive
from tests.weights import goods


def zipped(names: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in names.items():
            file.writestr(name, data)
    return bytearray(out.getvalue())


def test_records_are_where_zipfile_finds_them():
    file = io.BytesIO(goods.saved({"w": torch.arange(100.0), "b": torch.ones(3)}))
    found = archive.records(file)
    with zipfile.ZipFile(file) as oracle:
        names = oracle.namelist()
        assert set(found) == {name.partition("/")[2] for name in names}
        for name in names:
            assert archive.read(file, found, name.partition("/")[2]) == oracle.read(name)


def test_the_directory_begins_where_zipfile_finds_it():
    file = io.BytesIO(goods.saved({"w": torch.ones(3)}))
    assert archive.check_end(file) == zipfile.ZipFile(file).start_dir


def compressed():
    return zipped({"a/data.pkl": bytes(100)}, zipfile.ZIP_DEFLATED)


def two_of_one_name():
    data = zipped({"a/data.pkl": b"one", "a/other.pk": b"two"})
    return data.replace(b"a/other.pk", b"a/data.pkl")


def another_name_before_the_record():
    data = zipped({"a/data.pkl": b"values"})
    data[30] = ord("b")  # the first name, after a header of 30 bytes
    return data


def changed_values():
    data = zipped({"a/data.pkl": b"values"})
    data[data.index(b"values")] ^= 1
    return data


def comment_at_the_end():
    out = io.BytesIO(bytes(zipped({"a/data.pkl": b"values"})))
    with zipfile.ZipFile(out, "a") as file:
        file.comment = b"anything"
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (compressed, "is compressed or encrypted"),
        (two_of_one_name, "it has two records"),
        (another_name_before_the_record, "its directory and the header of 'a/data.pkl' disagree"),
        (changed_values, "'a/data.pkl' has changed since it was written"),
        (comment_at_the_end, "it is cut short"),
        (lambda: zipped({"a/data.pkl": b"1"})[:-1], "it is cut short"),
        (lambda: b"", "it is cut short"),
        (lambda: zipped({"a/x": b"1", "b/y": b"2"}), "its records are not in one folder"),
        (lambda: zipped({"data.pkl": b"1"}), "torch.save does not write a record 'data.pkl'"),
        (lambda: zipped({"a/../x": b"1"}), "torch.save does not write a record 'a/../x'"),
        (lambda: zipped({"a/constants.pkl": b"1"}), "it is TorchScript"),
    ],
)
def test_what_torch_save_does_not_write_is_refused(make, reason):
    with pytest.raises(archive.BrokenArchiveError, match=reason):
        archive.records(io.BytesIO(bytes(make())))


@pytest.mark.parametrize(("bound", "most"), [("RECORDS", 2), ("DIRECTORY", 9)])
def test_a_directory_larger_than_a_network_needs_is_refused(monkeypatch, bound, most):
    file = io.BytesIO(bytes(zipped({f"a/{i}": b"1" for i in range(3)})))
    assert len(archive.records(file)) == 3
    monkeypatch.setattr(archive, bound, most)
    with pytest.raises(archive.BrokenArchiveError, match="a directory of 3 records"):
        archive.check_end(file)
