"""Which drivers are alive: each touches a file of its own while it works on a folder."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from typing import Final

import psutil

from labkit.batch.store import Store

HEARTBEAT = 5.0  # seconds between two signs of life of a driver
SILENCE = 60.0  # seconds after which one that cannot be looked at is considered dead
CLOCK = 2.0  # seconds by which two readings of a process's start may differ
DRIVERS: Final = ".labkit/drivers"
OURS: Final[set[str]] = set()  # the tokens of this process's own drivers


class Drivers:
    """The drivers that work, or worked, on a folder."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dead: set[str] = set()

    def alive(self, token: str) -> bool:
        """Whether a driver still works.

        On its own machine it is dead as soon as its process is; seen from elsewhere, when
        there was no sign of life for a minute. Its file goes when it ends.
        """
        if token in self._dead:
            return False
        alive = self._look(token)
        if not alive:
            self._dead.add(token)
        return alive

    def _look(self, token: str) -> bool:
        name = f"{DRIVERS}/{token}.json"
        data = self._store.read(name)
        if data is None:
            return False
        age = self._store.age(name)
        recent = age is None or age <= SILENCE
        try:
            driver = json.loads(data)
            here = driver["machine"] == machine()
            pid, started = int(driver["pid"]), float(driver["started"])
        except (ValueError, KeyError, TypeError):
            return recent
        if not here:
            return recent
        if pid == os.getpid():
            return token in OURS
        # One of that number that is silent is another process, or the driver, suspended.
        began = _start_of(pid)
        return began is not None and (recent or abs(began - started) < CLOCK)


def machine() -> str:
    """Where process numbers mean the same: a host's name, and on Linux its process namespace.

    Containers may share a host's name, and a folder.
    """
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _start_of(pid: int) -> float | None:
    """When a process began; None where there is none of that number, or what is left of it."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
