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


END = """
import atexit, sys, weakref
from labkit.warm import preload
class Thing: pass
theirs, ours = Thing(), Thing()
weakref.finalize(theirs, print, "the preloaded process's")
preload.preload()
weakref.finalize(ours, print, "the fork's")
atexit.register(print, "at exit")
before = set(sys.modules)
atexit._run_exitfuncs()
print(sorted(set(sys.modules) - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_it_asks_cuda_nothing_and_starts_no_thread():
    environment = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CUDA], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == "", "something could not be preloaded"
    assert done.stdout.splitlines() == ["[] False 1", "['_cuda_getDeviceCount']"]


def test_a_fork_ends_with_what_it_has_begun_itself():
    """And imports nothing for it: the end of each run would take as long as a tenth of it."""
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["at exit", "the fork's", "[]"]


@pytest.mark.parametrize(
    ("wanted", "spared"),
    [
        (None, set()),
        ("torch,labkit", set()),
        ("torch,pandas", {"sklearn", "labkit"}),
        ("torch", {"pandas", "sklearn", "labkit"}),
        ("", {"pandas", "sklearn", "labkit"}),
    ],
)
def test_what_nobody_imports_may_be_left_out(wanted, spared, monkeypatch):
    monkeypatch.delenv("LABKIT_PRELOAD", raising=False)
    if wanted is not None:
        monkeypatch.setenv("LABKIT_PRELOAD", wanted)
    packages = {"torch", "plotly", "pandas", "sklearn", "labkit"}
    assert {package for package in packages if not preload.worth_it(package)} == spared
