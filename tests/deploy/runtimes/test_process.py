from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import labkit
from labkit.deploy.runtimes.process import MAX_REASON, Worker, WorkerError


@pytest.fixture
def start(tmp_path):
    """A worker with a faulty builder; it ends with the test."""
    started = []

    def one(builder):
        task = {"builder": builder, "folder": str(tmp_path)}
        started.append(Worker(task, tmp_path / "log.txt", "tests.deploy.runtimes.faulty"))
        return started[-1]

    yield one
    for worker in started:
        worker.close()


@pytest.mark.parametrize(
    ("builder", "reason"),
    [("crashes", "SIGABRT"), ("exits", "exit code 3: out of luck"), ("no such", "no such")],
)
def test_what_goes_wrong_is_one_line(start, builder, reason):
    with pytest.raises(WorkerError, match=reason):
        start(builder).ask("build", timeout=60)


def test_a_long_reason_is_cut_and_the_worker_goes_on(start):
    worker = start("raises")
    with pytest.raises(WorkerError, match=r"the operator `Foo` is unknown x+") as caught:
        worker.ask("build", timeout=60)
    assert len(str(caught.value)) == MAX_REASON
    assert worker.ask("memory", timeout=60) > 1e6


def test_no_answer_in_time_ends_the_process(start):
    worker = start("hangs")
    began = time.monotonic()
    with pytest.raises(WorkerError, match="no answer within 3 s"):
        worker.ask("build", timeout=3)
    assert time.monotonic() - began < 30
    assert not psutil.pid_exists(worker.pid)
    with pytest.raises(WorkerError):  # and stays ended
        worker.ask("build", timeout=3)


def test_what_a_library_prints_is_no_answer(start):
    assert start("chatters").ask("build", timeout=60)["files"] == []


def test_memory_is_that_of_the_worker_not_of_its_parent(start):
    ballast = bytearray(os.urandom(1)) * int(6e8)
    used = start("chatters").ask("memory", timeout=60)
    assert len(ballast) > 2 * used


@pytest.mark.parametrize("inherited", ["", "elsewhere"])
def test_a_worker_imports_the_labkit_of_its_parent_and_nothing_by_its_inner_names(
    start, monkeypatch, tmp_path, inherited
):
    """`labkit/warm`, `labkit/machine.py` … must not stand for modules of that name."""
    package = Path(labkit.__file__).parent
    other = str(tmp_path / inherited) if inherited else ""
    monkeypatch.chdir(package)  # which Python would search first
    monkeypatch.setenv("PYTHONPATH", other)
    own, *paths = start("finds").ask("build", timeout=60)["files"]
    assert Path(own) == Path(labkit.__file__)
    inside = [path for path in paths if Path(path).resolve().is_relative_to(package)]
    assert inside == []
    assert not inherited or other in paths


def test_a_worker_ends_with_its_parent(tmp_path):
    script = textwrap.dedent(
        f"""
        import os, pathlib
        from labkit.deploy.runtimes.process import Worker
        task = {{"builder": "hangs"}}
        log = pathlib.Path({str(tmp_path / "log.txt")!r})
        worker = Worker(task, log, "tests.deploy.runtimes.faulty")
        worker.ask("memory", timeout=60)
        print(worker.pid, flush=True)
        worker._process.stdin.write(b'{{"command": "build"}}\\n')
        worker._process.stdin.flush()
        os._exit(0)
        """
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid, deadline = int(ran.stdout), time.monotonic() + 20
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(pid)
