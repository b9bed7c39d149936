"""Who runs what: two drivers on one folder never run the same thing at once.

A run's claims are files, numbered, each made exclusively: the next number may be taken once
the last one's holder has ended the run or is dead. That needs no lock, so that it holds on
a shared disk and in an object store alike.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from labkit.batch import liveness
from labkit.batch.folder import Folder
from labkit.batch.liveness import DRIVERS, OURS, SILENCE, Drivers
from labkit.batch.states import ENDED, STATUS

CLAIMS = ".labkit/claims"
Status = Mapping[str, Any]


class Driver:
    """This process at work on a folder; made by `driving`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.token = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.identity = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid()}
        self.drivers = Drivers(folder.store)
        self._file = f"{DRIVERS}/{self.token}.json"
        self._claims: dict[str, list[str]] = {}
        about = {
            **self.identity,
            "machine": liveness.machine(),
            "started": psutil.Process().create_time(),
        }
        self._about = json.dumps(about).encode()

    def beat(self) -> None:
        """Give a sign of life."""
        self.folder.store.touch(self._file, self._about)

    def claim(self, id: str, wanted: Callable[[Status | None], bool]) -> Status | None:
        """Take a run, unless another driver has it or it is no longer wanted; then `begin` it.

        Args:
            id: the run's.
            wanted: whether a run with this status (None: nothing has begun) is wanted.

        Returns:
            The status before, an empty one where there was none; None where it was not
            taken.
        """
        folder, store = self.folder, self.folder.store
        while True:
            status = folder.status(id)
            if self.busy(status) or not wanted(status):
                return None
            number = status["driver"]["claim"] if status else 0
            names: list[str] = []
            while True:
                number += 1
                names.append(f"{CLAIMS}/{id}.{number}")
                if store.create(names[-1], self.token.encode()):
                    break
                if self._held(names[-1]):
                    return None
            if folder.status(id) == status:
                self._claims[id] = names
                return status or {}
            store.remove(names[-1])  # it ended between our two looks: look again

    def _held(self, claim: str) -> bool:
        """Whether a living driver has made a claim."""
        holder = self.folder.store.read(claim)
        if holder:
            return self.drivers.alive(holder.decode(errors="replace"))
        age = self.folder.store.age(claim)  # being written, or just removed
        return age is not None and age <= SILENCE

    def busy(self, status: Status | None) -> bool:
        """Whether a living driver has the run."""
        return (
            status is not None
            and status["state"] not in ENDED
            and self.drivers.alive(status["driver"]["token"])
        )

    def begin(self, id: str, status: Status) -> None:
        """Write the first status of a run that we have just taken, in an empty folder."""
        self.folder.store.clear(id, keep=STATUS)
        self._write(id, status)

    def update(self, id: str, status: Status) -> bool:
        """Write the status of our run; False where another driver has taken it over."""
        if ours := self.has(id):
            self._write(id, status)
        return ours

    def has(self, id: str) -> bool:
        """Whether a run that we have begun is still ours."""
        known = self.folder.status(id)
        return known is None or known["driver"]["token"] == self.token

    def _write(self, id: str, status: Status) -> None:
        number = int(self._claims[id][-1].rpartition(".")[2])
        self.folder.write_status(id, {**status, "driver": {**self.identity, "claim": number}})

    def release(self, id: str) -> None:
        """Give a run up, after its last status was written."""
        for name in self._claims.pop(id, ()):
            self.folder.store.remove(name)


@contextmanager
def driving(folder: Folder) -> Iterator[Driver]:
    """Work on a folder, with a heartbeat for others to see.

    Raises:
        OSError: the folder cannot be written.
    """
    driver = Driver(folder)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(liveness.HEARTBEAT):
            with suppress(Exception):  # the next status that cannot be written stops the driver
                driver.beat()

    driver.beat()
    OURS.add(driver.token)
    thread = threading.Thread(target=beat, name="labkit-heartbeat", daemon=True)
    thread.start()
    try:
        yield driver
    finally:
        ended.set()
        thread.join()
        OURS.discard(driver.token)
        with suppress(Exception):
            folder.store.remove(driver._file)
