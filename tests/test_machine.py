from __future__ import annotations

import os
import platform
import sys
from collections import namedtuple
from importlib import metadata

import psutil
import pytest
import torch

import labkit
from labkit.machine import PACKAGES, doctor

Memory = namedtuple("Memory", "available total")


def rows() -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in doctor().rows}


def test_one_row_a_check_with_the_versions_that_are_there():
    found = rows()
    assert list(found)[:2] == ["labkit", "Python"]
    assert found["labkit"]["found"] == labkit.__version__
    assert found["Python"]["found"] == platform.python_version()
    for name in PACKAGES:
        assert found[name]["found"] == metadata.version(name)
    assert found["processor"]["found"].startswith(f"{os.cpu_count()} cores, ")
    assert {"memory", "GPU", "notebook"} <= set(found)


def test_a_tick_or_a_cross_with_a_remedy():
    for row in doctor().rows:
        assert row[""] == ("✗" if row["remedy"] else "✓"), row


def test_a_package_that_is_missing_can_be_installed(monkeypatch):
    version = metadata.version

    def without_anywidget(name: str) -> str:
        if name == "anywidget":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_anywidget)
    row = rows()["anywidget"]
    assert (row["found"], row[""], row["remedy"]) == ("missing", "✗", "pip install anywidget")
    assert rows()["torch"][""] == "✓"


@pytest.mark.parametrize(("free", "mark"), [(1.9, "✗"), (2.1, "✓")])
def test_little_memory_is_a_problem(free, mark, monkeypatch):
    memory = Memory(int(free * 2**30), 16 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    row = rows()["memory"]
    assert (row["found"], row[""]) == (f"{free} GiB of 16 GiB free", mark)


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_is_named_and_none_is_no_problem(there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    row = rows()["GPU"]
    expected = "NVIDIA H100, CUDA 13.0" if there else "none: everything runs on the processor"
    assert (row["found"], row[""]) == (expected, "✓")


@pytest.mark.parametrize(
    ("version", "mark", "remedy"),
    [("6.29.5", "✗", "pip install 'ipykernel>=7'"), ("7.0.0", "✓", ""), ("10.1", "✓", "")],
)
def test_an_old_kernel_cannot_answer_while_a_cell_runs(version, mark, remedy, monkeypatch):
    real = metadata.version
    monkeypatch.setitem(sys.modules, "ipykernel", sys.modules[__name__])
    monkeypatch.setattr(metadata, "version", lambda n: version if n == "ipykernel" else real(n))
    row = rows()["notebook"]
    assert (row[""], row["remedy"]) == (mark, remedy)
    assert sys.executable in row["found"]


def test_outside_a_notebook_there_is_no_kernel_to_look_at(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert rows()["notebook"]["found"] == "not in a notebook"
