"""A plain child process with the same handles as a forked one, and whole families of them."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "LABKIT_RUN"  # environment variable that a run's processes inherit
GONE = 5.0  # seconds in which killed processes have to be gone


class Plain:
    """`python -m module arguments` in a session of its own; it ends when this process does."""

    def __init__(
        self, module: str, arguments: list[str], *, cwd: Path, env: dict[str, str], log: Path
    ) -> None:
        self._mark = env[MARK]
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code, negative for a signal; None where it still runs after `timeout` s."""
        wait_for_exit(self._process, timeout)
        return self._process.poll()

    def family(self) -> list[psutil.Process]:
        """The process and all that it started, also what has left its session."""
        return descendants(self.pid) + marked(self._mark)

    def kill(self) -> None:
        """End the family."""
        kill_marked(self._mark, self.pid)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]


def wait_for_exit(process: subprocess.Popen[bytes], timeout: float | None) -> None:
    """Sleep until a child ends; `Popen.wait` with a timeout looks twenty times a second."""
    if process.poll() is not None:
        return
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        return
    try:
        select.select([handle], [], [], timeout)
    finally:
        os.close(handle)


def descendants(pid: int) -> list[psutil.Process]:
    """A process and its children's children."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def marked(mark: str) -> list[psutil.Process]:
    """All processes that have a run's mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def kill_marked(mark: str, pid: int | None = None) -> None:
    """End a run's processes, again and again until none starts another."""
    deadline = time.monotonic() + GONE
    while time.monotonic() < deadline:
        found = marked(mark) + (descendants(pid) if pid is not None else [])
        found = [process for process in found if is_alive(process)]
        if not found:
            return
        kill(found)


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to each, and wait until they are gone."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie only waits for its parent to read its exit code."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def memory(processes: Iterable[psutil.Process], ancestor: int | None = None) -> int:
    """Bytes that processes use.

    What several of them share counts once, as well as the system tells; what they share
    with the process that they were forked from does not count.
    """
    own = shares = inherited = 0
    for process in {process.pid: process for process in processes}.values():
        with contextlib.suppress(psutil.Error, OSError):
            used = process.memory_full_info()
            own += used.uss
            shares += getattr(used, "pss", used.uss)
    if ancestor is not None:
        with contextlib.suppress(psutil.Error):
            inherited = psutil.Process(ancestor).memory_info().rss
    return int(max(own, shares - inherited))
