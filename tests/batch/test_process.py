"""Child processes and their families, beside psutil's and the system's own view."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from labkit.batch import process
from labkit.batch.process import MARK, Plain, is_alive, kill_marked, marked, wait_for_exit

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sessions and signals are POSIX's")
PATIENCE = 60
CHILD = "import subprocess, sys, time\n"
LEAVES_ITS_SESSION = (
    CHILD + "p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, "
    "start_new_session=True)\nprint(p.pid, flush=True)\ninput()"
)


@pytest.fixture
def plain(tmp_path):
    """Start a module of the test's own in a process."""
    started = []

    def start(source: str) -> Plain:
        (tmp_path / "child.py").write_text(source)
        env = {**os.environ, MARK: f"test-{os.getpid()}", "PYTHONPATH": str(tmp_path)}
        child = Plain("child", ["a"], cwd=tmp_path, env=env, log=tmp_path / "log")
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()


def printed(path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, "nothing was printed"
        time.sleep(0.01)
    return path.read_text().strip()


@pytest.mark.parametrize("code", [0, 7])
def test_a_child_has_its_arguments_its_log_and_an_exit_code(plain, tmp_path, code):
    child = plain(f"import sys; print(sys.argv[1:]); sys.exit({code})")
    assert child.wait(PATIENCE) == code
    assert printed(tmp_path / "log") == "['a']"


def test_a_child_that_is_killed_says_by_which_signal(plain):
    child = plain("input()")
    assert child.wait(0.01) is None
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(PATIENCE) == -signal.SIGKILL


def test_a_family_includes_what_has_left_its_session_and_ends_with_it(plain, tmp_path):
    child = plain(LEAVES_ITS_SESSION)
    grandchild = psutil.Process(int(printed(tmp_path / "log")))
    assert {child.pid, grandchild.pid} <= {found.pid for found in child.family()}
    child.kill()
    assert not is_alive(grandchild)
    assert not psutil.pid_exists(child.pid)


def test_an_orphan_is_found_by_its_mark(plain, tmp_path):
    child = plain(LEAVES_ITS_SESSION.replace("\ninput()", ""))
    orphan = psutil.Process(int(printed(tmp_path / "log")))
    child.wait(PATIENCE)
    mark = f"test-{os.getpid()}"
    if is_alive(orphan):  # its stdin closed with its parent, so that it may have ended
        assert orphan.pid in {found.pid for found in marked(mark)}
    kill_marked(mark)
    assert not is_alive(orphan)
    assert marked(mark) == []


def test_a_zombie_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", ""])
    handle = psutil.Process(child.pid)
    deadline = time.monotonic() + PATIENCE
    while handle.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not is_alive(handle)
    wait_for_exit(child, PATIENCE)
    assert child.wait() == 0
    assert not is_alive(handle)


def test_memory_is_what_the_processes_have_to_themselves():
    here = psutil.Process()
    used = process.memory([here, here])  # the same one counts once
    assert 0.5 * here.memory_full_info().uss <= used <= 1.5 * here.memory_info().rss
    assert process.memory([]) == 0
