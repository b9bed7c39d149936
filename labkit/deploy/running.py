"""Running: every figure of the files that were built, each in a process of its own.

All processes stay until the end, so that they can be timed in turn. One that fails drops out:
its row has the reason, and keeps the figures measured so far.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from labkit.deploy.agreement import agreement
from labkit.deploy.building import Building, slug
from labkit.deploy.choice import Measured
from labkit.deploy.latency import Latency, interleaved
from labkit.deploy.runtimes.process import Worker, WorkerError

REFERENCE = "PyTorch fp32"
COUNTING = 0.7  # seconds for which images are counted for throughput
OPENING, DETECTING, SMALL = 90.0, 1.0, 60.0  # seconds to wait; DETECTING is for each image


class Running:
    """The rows of a search, and a process for each that has no problem."""

    def __init__(self, building: Building, rows: Sequence[Measured], rounds: int, burst: int):
        self._building, self._threads = building, building.request.threads
        self._rows = {row.name: row for row in rows}
        self._timing = {"rounds": rounds, "burst": burst}
        self._workers: dict[str, Worker] = {}

    def run(self) -> list[Measured]:
        """Measure everything; the rows with all figures."""
        report = self._building.report
        with contextlib.ExitStack() as stack:
            for row in self._rows.values():
                if not row.problem:
                    worker = self._building.worker(row.name, row.candidate, _file(row))
                    self._workers[row.name] = stack.enter_context(worker)
            self._measure_accuracy()
            report(f"timing, {_threads(self._threads)}")
            for name, found in self._timed().items():
                self._put(name, latency=found)
            if self._threads == 1:
                for name, row in list(self._rows.items()):
                    self._put(name, latency_1=row.latency)
            else:
                self._time_on_one_thread()
            report("counting throughput")
            for name, worker in self._each():
                load = {"sessions": self._threads, "seconds": COUNTING}
                with self._or_drop(name):
                    self._put(name, throughput=worker.ask("throughput", timeout=SMALL, **load))
        return list(self._rows.values())

    def _time_on_one_thread(self) -> None:
        for name, worker in self._each():
            with self._or_drop(name):
                worker.ask("open", timeout=OPENING, threads=1)
        self._building.report("timing, 1 thread")
        for name, found in self._timed().items():
            self._put(name, latency_1=found)

    def _measure_accuracy(self) -> None:
        """Boxes on the validation images: accuracy, and agreement with the reference."""
        boxes: dict[str, np.ndarray] = {}
        for name, worker in self._each():
            self._building.report(f"running {name}")
            with self._or_drop(name):
                boxes[name], figures = self._accuracy(name, worker)
                self._put(name, **figures)
        if REFERENCE in boxes:
            for name, found in boxes.items():
                self._put(name, agreement=agreement(list(found), list(boxes[REFERENCE])))

    def _accuracy(self, name: str, worker: Worker) -> tuple[np.ndarray, dict[str, Any]]:
        """Open the file with all threads; its boxes, memory and proof."""
        to = self._building.folder / slug(name) / "boxes.npy"
        worker.ask("open", timeout=OPENING, threads=self._threads)
        worker.ask("time", timeout=SMALL, count=2, warm=2)
        memory = worker.ask("memory", timeout=SMALL)
        timeout = SMALL + DETECTING * len(self._building.request.validation)
        worker.ask("detect", timeout=timeout, to=str(to))
        boxes = np.load(to)
        metrics = self._building.truth.metrics(list(boxes))
        proof = worker.ask("proof", timeout=SMALL)
        return boxes, {"memory": memory, "map50": metrics.map50, "map": metrics.map, **proof}

    def _timed(self) -> dict[str, Latency]:
        return interleaved(self._workers, self._drop, **self._timing)

    def _each(self) -> list[tuple[str, Worker]]:
        """The workers that still run; a list, because some may drop out meanwhile."""
        return list(self._workers.items())

    def _put(self, name: str, **figures: Any) -> None:
        self._rows[name] = dataclasses.replace(self._rows[name], **figures)

    def _drop(self, name: str, why: str) -> None:
        self._put(name, problem=why)
        self._workers.pop(name).close()

    @contextlib.contextmanager
    def _or_drop(self, name: str) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self._drop(name, str(error))


def _file(row: Measured) -> str:
    """What a runtime opens; PyTorch opens the weights, and builds the network from them."""
    return "" if row.candidate.runtime == "torch" else str(row.files[0])


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
