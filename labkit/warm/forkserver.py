"""Asking a preloaded process for forks of itself: the side that asks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil

ADDRESS = "LABKIT_FORKSERVER"  # the variable by which a fork finds the server it may ask
WANTED = "LABKIT_PRELOAD"  # and one by which the server hears what is worth importing
# Where the system has huge pages and glibc uses them, a fork copies a fraction of the page
# tables (Memory Allocation Tunables in glibc's manual). Forks get an environment of their own.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
LONGEST_SOCKET = 80  # bytes of the folder's path; a socket's own limit is 108
SERVER = (sys.executable, "-m", "labkit.warm.server")
PRELOAD = "labkit.warm.preload:preload"
PATIENCE = 300.0  # seconds for the first answer, which waits until everything is imported


class ForkError(RuntimeError):
    """No fork is available; the message says why."""


class Fork:
    """A forked process, much like a `subprocess.Popen`.

    The connection behind it is its lifeline: when it closes, be it because this process is
    killed or because the object is not referenced any more, the process and everything it
    started are killed.

    Attributes:
        pid: of the process; it leads a session of its own.
        keeper: pid of the process that watches over it, and adopts whatever leaves it.
        returncode: its exit code, negative for a signal; None while it runs.
    """

    stdin = stdout = stderr = None  # as a Popen without pipes has them

    def __init__(self, link: Connection, pid: int, keeper: int) -> None:
        self.pid, self.keeper = pid, keeper
        self.returncode: int | None = None
        self._link = link
        self._sending, self._receiving = threading.Lock(), threading.Lock()

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the process and everything it started have ended.

        Returns its exit code, negative for a signal; None after `timeout` seconds.
        """
        if not self._receiving.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return self.returncode
        try:
            if self.returncode is None and self._link.poll(timeout):
                try:
                    self.returncode = int(receive(self._link)["exit"])
                except (EOFError, OSError):  # the keeper was killed, and the process with it
                    self.returncode = -signal.SIGKILL
                self._link.close()
            return self.returncode
        finally:
            self._receiving.release()

    def send_signal(self, signum: int) -> None:
        """Send a signal to the process and what it started in its session, if it still runs."""
        with self._sending:
            if self.returncode is None:
                with suppress(OSError):  # it has ended, or is about to
                    send(self._link, signal=int(signum))

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and everything it started; `wait` returns when all are gone."""
        self.send_signal(signal.SIGKILL)

    def family(self) -> list[psutil.Process]:
        """The process and everything it started that lives, forks it asked for included."""
        try:
            return psutil.Process(self.keeper).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class ForkServer:
    """A process that has imported everything already, and forks on request.

    It is started when it is first needed, again if it has died, and ends with this process.

    Args:
        address: of a server that another process started; it is used for as long as it lives.
        preload: the function that imports everything there, as "module:name".
    """

    def __init__(self, address: str | None = None, preload: str = PRELOAD) -> None:
        self.address, self.preload = address, preload
        self._borrowed = address is not None
        self._starting, self._starts = threading.Lock(), 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], Any] = lambda: None
        self._remove: Callable[[], Any] = lambda: None

    def start(self, wanted: Iterable[str] | None = None) -> None:
        """Start it now, so that it imports while this process does something else.

        Args:
            wanted: packages that will be imported, by name, where that is known: some that
                take long are then left out.
        """
        with self._starting:
            if self._borrowed or (self._process and self._process.poll() is None):
                return
            self._end()  # the one that has died; what was forked from it lives on
            if self._folder is None:
                self._folder = private_folder()
                self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
            self._starts += 1
            self.address = str(self._folder / f"server{self._starts}")
            ours, theirs = Pipe()
            with listen(self.address) as listener, theirs:
                descriptors = (theirs.fileno(), listener.fileno())
                env = HUGE_PAGES | dict(os.environ)
                if wanted is not None:
                    env[WANTED] = ",".join(wanted)
                # A session of its own: Ctrl-C in a terminal is meant for the asking process.
                self._process = subprocess.Popen(
                    [*SERVER, *map(str, descriptors), self.preload],
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                    env=env,
                )
            self._end = weakref.finalize(self, _end, ours, self._process, os.getpid())

    def close(self) -> None:
        """End the server and whatever was forked from it."""
        with self._starting:
            self._end()
            self._remove()
            self._folder = self._process = None

    def fork(
        self,
        target: str,
        arguments: Sequence[str] = (),
        *,
        cwd: str | os.PathLike[str] = ".",
        env: Mapping[str, str] | None = None,
        log: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> Fork:
        """Call a function in a fork; the fork ends with it, as a program would.

        Args:
            target: the function, as "module:name"; it is given `arguments` as a list.
            arguments: text.
            cwd: the working folder.
            env: all of its environment; this process's by default.
            log: the file that what it prints is added to; None for where the server prints.
            threads: for torch and its like; None for as many as in a fresh process.

        Raises:
            ForkError: no fork is available.
        """
        request = {
            "target": target,
            "arguments": list(arguments),
            "cwd": os.path.abspath(cwd),
            "env": dict(os.environ if env is None else env),
            "log": None if log is None else os.path.abspath(log),
            "threads": threads,
        }
        for attempt in (1, 2):
            try:
                self.start()
                return self._ask(request)
            except (EOFError, OSError) as error:  # the server has died: once more, with another
                if attempt == 2:
                    raise ForkError(f"the preloaded process is gone: {error!r}") from None
                self._borrowed = False
        raise AssertionError

    def _ask(self, request: dict[str, Any]) -> Fork:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(self.address))
            link = Connection(door.detach())
        try:
            send(link, **request)
            if not link.poll(PATIENCE):
                raise ForkError(f"the preloaded process did not answer for {PATIENCE:.0f} s")
            answer = receive(link)
            if problem := answer.get("error"):
                raise ForkError(problem)
        except BaseException:
            link.close()
            raise
        return Fork(link, answer["pid"], answer["keeper"])


def unavailable() -> str | None:
    """Why no process can be forked here, or None where it can."""
    if sys.platform != "linux":
        return f"warm kernels need Linux, and this is {sys.platform}"
    return None


_shared: tuple[int, ForkServer] | None = None
_sharing = threading.Lock()


def shared() -> ForkServer:
    """This process's one server: the one it may ask by `LABKIT_FORKSERVER`, or its own.

    Raises:
        ForkError: processes cannot be forked here.
    """
    global _shared
    if reason := unavailable():
        raise ForkError(reason)
    with _sharing:
        if _shared is None or _shared[0] != os.getpid():
            _shared = (os.getpid(), ForkServer(_borrowed()))
        return _shared[1]


def _borrowed() -> str | None:
    """The address in the environment, where a server listens to it."""
    address = os.environ.get(ADDRESS)
    return address if address and os.path.exists(address) else None


def private_folder() -> Path:
    """A new folder that only this user can open, with a path short enough for sockets."""
    folder = tempfile.mkdtemp(prefix="labkit-")
    if len(os.fsencode(folder)) > LONGEST_SOCKET:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="labkit-", dir="/tmp")
    return Path(folder)


def listen(path: str | os.PathLike[str]) -> socket.socket:
    """A socket that listens at `path`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen(128)
    return listener


def send(link: Connection, **message: Any) -> None:
    """Send one message."""
    link.send_bytes(json.dumps(message).encode())


def receive(link: Connection) -> dict[str, Any]:
    """Receive one message; raises EOFError or OSError where the other side is gone."""
    return dict(json.loads(link.recv_bytes()))


def _end(lifeline: Connection, process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:  # a fork of this process has inherited the duty, but must not
        if not lifeline.poll():  # it still imports, and would not notice before it has done so
            process.kill()
        lifeline.close()
        process.wait()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
