"""What the preloaded process does, and must not do, before it forks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from labkit.warm import preload

# The driver is asked by these; who asks in a process that forks later spoils CUDA for all.
CUDA = """
import os, torch
asked = []
for name in ("_cuda_getDeviceCount", "_cuda_init", "_cuda_isCurrentStreamCapturing"):
    setattr(torch._C, name, lambda *_, name=name: asked.append(name) or 0)
from labkit.warm import preload
preload.preload()
print(asked, torch.cuda.is_initialized(), len(os.listdir("/proc/self/task")))
torch.cuda.is_available()
print(asked)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_it_asks_cuda_nothing_and_starts_no_thread():
    environment = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CUDA], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == "", "something could not be preloaded"
    assert done.stdout.splitlines() == ["[] False 1", "['_cuda_getDeviceCount']"]


@pytest.mark.parametrize(
    ("wanted", "there"),
    [(None, True), ("torch,pandas", True), ("torch,labkit", True), ("torch", False), ("", False)],
)
def test_what_nobody_imports_may_be_left_out(wanted, there, monkeypatch):
    monkeypatch.delenv("LABKIT_PRELOAD", raising=False)
    if wanted is not None:
        monkeypatch.setenv("LABKIT_PRELOAD", wanted)
    assert preload.worth_it("pandas") is there
    assert preload.worth_it("torch")
