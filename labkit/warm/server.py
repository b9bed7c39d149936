"""The preloaded process: it imports everything once, then forks on request.

Every process in this file's family is a *keeper*: one thread, everything imported, nothing
started. The first one is the server. Asked for a fork it forks a keeper, and that forks the
process that was asked for, watches over it, and adopts and ends whatever it leaves behind.
The keeper listens too, so that what its process asks for is a part of its family.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

import psutil

from labkit.warm.forkserver import listen, receive, send
from labkit.warm.process import become, find

PATIENCE = 10.0  # seconds for killed processes to be gone
SUBREAPER, DEATH_SIGNAL = 36, 1  # prctl's numbers


class Keeper:
    """Watches over one process and its family; the server watches over all and has none.

    Args:
        link: the lifeline: when its other end closes, or the process that made it is gone
            (others may have inherited that end), the family ends.
        listener: where forks are asked for.
        folder: where sockets are made.
    """

    def __init__(self, link: Connection, listener: socket.socket, folder: Path) -> None:
        self.link, self.listener, self.folder = link, listener, folder
        self.child: int | None = None
        self._owners = owners(link)
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _prctl(SUBREAPER, 1)

    def release(self) -> None:
        """Forget everything, in a fork that is to be something else."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for resource in (self.link, self.listener, self._woken, self._waker):
            resource.close()
        for descriptor in self._owners:
            os.close(descriptor)

    def serve(self) -> NoReturn:
        """Fork, pass signals on, and end with the process or with the process that asked for it."""
        while True:
            for ready in wait([self.link, self.listener, self._woken, *self._owners]):
                if ready is self.listener:
                    self._fork()
                elif ready is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                elif ready is self.link:
                    self._obey()
                else:
                    self._end()

    def _obey(self) -> None:
        try:
            signum = receive(self.link)["signal"]
        except (EOFError, OSError):
            self._end()
        if self.child is not None:
            try:
                os.killpg(self.child, signum)
            except ProcessLookupError:  # it has not come as far as leading a group
                os.kill(self.child, signum)

    def _reap(self) -> None:
        """Take note of every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self._end(os.waitstatus_to_exitcode(status))

    def _end(self, code: int | None = None) -> NoReturn:
        """Kill the whole family, report the exit code, and end."""
        deadline = time.monotonic() + PATIENCE
        while _has_children() and time.monotonic() < deadline:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.001)
        if self.child is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            Path(self.listener.getsockname()).unlink(missing_ok=True)
            if code is not None:
                with contextlib.suppress(OSError):
                    send(self.link, exit=code)
        os._exit(0)

    def _fork(self) -> None:
        """Accept a request; a new keeper reads it, so that a slow client delays nobody."""
        client, _ = self.listener.accept()
        with Connection(client.detach()) as link, contextlib.suppress(BrokenPipeError):
            try:
                problem = unfit()
                if problem is None and os.fork() == 0:
                    keep(link, self)
            except OSError as error:
                problem = f"the system forks no more: {error.strerror}"
            if problem:
                send(link, error=problem)


def keep(link: Connection, parent: Keeper) -> NoReturn:
    """Fork the process that is asked for, and watch over it."""
    try:
        parent.release()
        request = receive(link)
        if request["log"] is not None:
            redirect(request["log"])
        me = os.getpid()
        path = parent.folder / str(me)
        keeper = Keeper(link, listen(path), parent.folder)
        pid = os.fork()
        if pid == 0:
            keeper.release()
            _prctl(DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != me:  # it was killed before it could be known
                os._exit(1)
            become(request, str(path))
        keeper.child = pid
        send(link, pid=pid, keeper=me)
        keeper.serve()
    except OSError as error:
        send(link, error=str(error))
    finally:  # never into what the parent was about to do
        os._exit(1)


def redirect(log: str) -> None:
    """Print to the end of a file from now on."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def unfit() -> str | None:
    """Why this process must not be forked, or None: threads and CUDA do not survive it."""
    tasks = os.listdir("/proc/self/task")
    if len(tasks) > 1:
        names = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in tasks]
        return f"the preloaded process has {len(tasks)} threads: {', '.join(names)}"
    if any(path.startswith("/dev/nvidia") for path in _open_files()):
        return "the preloaded process has used CUDA"
    return None


def _open_files() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists
            yield os.readlink(f"/proc/self/fd/{descriptor}")


def _has_children() -> bool:
    """Whether any process is left, ended ones reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def owners(link: Connection) -> list[int]:
    """A descriptor that is readable once the process at the other end is gone."""
    with socket.socket(fileno=os.dup(link.fileno())) as door:
        pid, _, _ = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        return [os.pidfd_open(pid)]
    except ProcessLookupError:
        raise EOFError from None
    except OSError:  # some containers have none: the connection alone must do
        return []


def main(lifeline: str, listener: str, preload: str) -> NoReturn:
    """Import everything, then serve until the process that started this one is gone."""
    del sys.path[0]  # the folder it was started in
    gc.disable()
    find(preload)()
    sys.stdout.flush()  # or every fork would print it once more
    gc.freeze()  # so that collections in forks leave shared memory alone
    door = socket.socket(fileno=int(listener))
    link = Connection(int(lifeline))
    send(link, ready=True)
    Keeper(link, door, Path(door.getsockname()).parent).serve()


if __name__ == "__main__":
    # As a module of its own name, not as the `__main__` that forks have to themselves.
    importlib.import_module("labkit.warm.server").main(*sys.argv[1:])
