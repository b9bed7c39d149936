"""What runs in a candidate's own process: JSON lines in, JSON lines out, nothing shared.

`python -m labkit.deploy.runtimes.worker` reads requests `{"command": name, …}`; the first one
brings the task. Whatever libraries print goes to standard error, which the parent keeps.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from labkit.core.telemetry import no_telemetry
from labkit.deploy.runtimes.sessions import Session, open_session
from labkit.deploy.runtimes.task import Task, pixels

COMMANDS = (
    "build", "export", "convert", "observe",  # make files
    "open", "time", "throughput", "detect", "memory", "proof",  # run one
)  # fmt: skip


class WorkerState:
    """A task and the session that is open on its file; each command is a method."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._session: Session | None = None
        self._images: np.ndarray | None = None

    # --- making files ------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        """Make the candidate's files; the first is the one to open."""
        from labkit.deploy.runtimes.builders import BUILDERS

        began = time.perf_counter()
        files = BUILDERS[self.task.builder](self.task)
        return {"files": [str(file) for file in files], "seconds": time.perf_counter() - began}

    def export(self) -> None:
        """Make the float ONNX file that others start from."""
        from labkit.deploy.runtimes.export import export_onnx

        export_onnx(self.task.weights, self.task.imgsz, Path(self.task.base))

    def convert(self) -> None:
        """Make the float LiteRT file that others start from."""
        from labkit.deploy.runtimes.litert import convert

        convert(self.task.weights, self.task.imgsz, Path(self.task.tflite))

    def observe(self, method: str, images: str, to: str) -> None:
        """Run the float ONNX file on images, and write the range of every activation."""
        from labkit.deploy.runtimes.calibration import observe

        observe(Path(self.task.base), Path(images), method, Path(to))

    # --- running one -------------------------------------------------------------------

    def open(self, threads: int) -> dict[str, Any]:
        """Open the file with a number of threads, and run one image."""
        self._session = None
        began = time.perf_counter()
        self._session = self._open(threads)
        self._session(self._image(0))
        return {"seconds": time.perf_counter() - began}

    def time(self, count: int, warm: int = 2) -> list[float]:
        """Milliseconds of each of `count` images, after `warm` images that are not timed."""
        assert self._session is not None
        images = [self._image(k) for k in range(min(count, 8, len(self._all())))]
        for k in range(warm):
            self._session(images[k % len(images)])
        times = []
        for k in range(count):
            began = time.perf_counter()
            self._session(images[k % len(images)])
            times.append((time.perf_counter() - began) * 1e3)
        return times

    def throughput(self, sessions: int, seconds: float) -> float:
        """Images a second of several sessions with one thread each, side by side."""
        opened = [self._open(1) for _ in range(sessions)]
        image = self._image(0)
        for session in opened:
            session(image)
        end = time.perf_counter() + seconds

        def work(session: Session) -> int:
            count = 0
            while time.perf_counter() < end:
                session(image)
                count += 1
            return count

        began = time.perf_counter()
        with ThreadPoolExecutor(sessions) as pool:
            done = sum(pool.map(work, opened))
        return done / (time.perf_counter() - began)

    def detect(self, to: str) -> None:
        """Find boxes on all validation images: (images, rows, 6) float32 into a file."""
        assert self._session is not None
        found = [self._session(self._image(k))[0] for k in range(len(self._all()))]
        most = max(len(rows) for rows in found)
        out = np.zeros((len(found), most, 6), np.float32)
        for k, rows in enumerate(found):
            out[k, : len(rows)] = rows
        np.save(to, out)

    def memory(self) -> int:
        """The most bytes that this process has used so far."""
        return peak_memory()

    def proof(self) -> dict[str, Any]:
        """What is stored and computed in integers."""
        from labkit.deploy.runtimes.proof import proof

        assert self._session is not None
        return proof(self.task.runtime, Path(self.task.file), self._session)

    def _open(self, threads: int) -> Session:
        task = self.task
        return open_session(task.runtime, task.file, threads=threads, options=task.options)

    def _all(self) -> np.ndarray:
        if self._images is None:
            self._images = np.load(self.task.validation, mmap_mode="r")
        return self._images

    def _image(self, k: int) -> np.ndarray:
        return pixels(self._all()[k : k + 1])


def peak_memory() -> int:
    """The most bytes that this process has held in memory.

    Not `getrusage`, which gives the parent's peak: Linux hands it on to what is executed.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    own = psutil.Process().memory_info()
    return int(getattr(own, "peak_wset", own.rss))


def serve(read: Callable[[], str | None], answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer requests until there are no more.

    Args:
        read: gives the next request, a JSON line, or None after the last one.
        answer: is called with `{"answer": …}`, or `{"error": reason}`.
    """
    state: WorkerState | None = None
    while (line := read()) is not None:
        request = json.loads(line)
        command = request.pop("command")
        try:
            if "task" in request:
                state = WorkerState(Task(**request.pop("task")))
            if command not in COMMANDS:
                raise ValueError(f"a worker has no command {command}")
            answer({"answer": getattr(state, command)(**request)})
        except Exception as error:  # whatever a builder or a runtime raises
            import traceback

            traceback.print_exc()
            answer({"error": f"{str(error) or type(error).__name__}"})


def main() -> None:
    """Serve standard input and output; end at once when the parent has gone."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    no_telemetry()
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    serve(waiting.get, lambda message: print(json.dumps(message), file=out, flush=True))


if __name__ == "__main__":
    main()
