"""Jobs and performers that take no time: for what is about a batch and not about notebooks."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from labkit.batch.folder import Folder
from labkit.batch.job import Failure, Job, Outcome, identify

CELLS = [{"cell_type": "code", "source": "x = 0", "metadata": {"tags": ["parameters"]}}]
NOTEBOOK = json.dumps({"cells": CELLS}).encode()
PLACES = ["local", "file", "memory", "s3"]


def place(kind: str, folder: Path) -> str:
    """Where a batch may lie: a folder, the same by its URL, stores without folders."""
    if kind == "memory":
        return f"memory://{uuid.uuid4().hex}/runs"
    if kind == "s3":
        return f"s3://{bucket()}/{uuid.uuid4().hex}/runs"
    return f"file://{folder}/runs" if kind == "file" else str(folder / "runs")


@functools.cache
def bucket() -> str:
    """A bucket of a server on this machine that speaks as S3 does, for the tests of a process."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "a secret",  # the server takes any
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    s3fs.S3FileSystem().mkdir("labkit")
    return "labkit"


def jobs(count: int, **more: Any) -> list[Job]:
    return [job(x=i, **more) for i in range(count)]


def job(notebook: bytes = NOTEBOOK, **parameters: Any) -> Job:
    return Job(identify("stub", notebook, parameters), "stub", notebook, parameters)


def asked(out: str | Path, batch: Sequence[Job]) -> Folder:
    folder = Folder(out)
    folder.ask(batch)
    return folder


def outcome(state: str = "done", reason: str = "", infrastructure: bool = False, **more: Any):
    failure = Failure(reason) if reason else None
    return Outcome(state, failure, infrastructure, "here", 1, time.time(), 0.25, **more)


def count(job: Job) -> Outcome:
    """Writes a line for each beginning into the file that the parameter `log` names."""
    begin(job)
    time.sleep(job.parameters.get("seconds", 0))
    return outcome()


def begin(job: Job) -> None:
    handle = os.open(job.parameters["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{job.id}\n".encode())
    os.close(handle)


def begun(log: Path) -> Counter[str]:
    """How many times each run has begun."""
    return Counter(log.read_text().splitlines() if log.exists() else [])


def states(folder: Folder) -> list[str]:
    return [status["state"] for status in folder.statuses()]


class Manual(Executor):
    """An executor whose calls are run by the test, or never."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.calls: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.most = 0

    def submit(self, fn, /, *args, **kwargs):
        future: Future[Any] = Future()
        self.calls.append((future, fn, args))
        self.most = max(self.most, sum(not f.done() for f, _, _ in self.calls))
        return future


def drive_here(out: str, log: str, count_: int, seconds: float, at_once: int) -> None:
    """A whole driver, for a process of its own."""
    from labkit.batch import queue, schedule

    queue.OTHERS = schedule.TICK = 0.05
    batch = jobs(count_, log=log, seconds=seconds)
    schedule.drive(batch, asked(out, batch), at_once=at_once, progress=False, perform=count)


if __name__ == "__main__":
    drive_here(*sys.argv[1:3], *map(json.loads, sys.argv[3:]))
