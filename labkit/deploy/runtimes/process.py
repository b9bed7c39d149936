"""A worker process as its parent sees it: requests as JSON lines, answers in time or an end.

Whatever a builder or a runtime does there (an error, a crash, no answer) is a `WorkerError`
here, with a reason in one line, and touches nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import labkit

MAX_REASON = 220  # characters

# A runtime gets its threads when it opens a file. These are for what it uses beside them.
ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


class WorkerError(Exception):
    """A worker has failed: the message says why, in one line."""


class Worker:
    """`python -m labkit.deploy.runtimes.worker`, which ends with its parent.

    Args:
        task: what it works on, as JSON values (see `labkit.deploy.runtimes.task.Task`).
        log: the file that takes what the process prints.
        module: what is run.
    """

    def __init__(
        self, task: dict[str, Any], log: Path, module: str = "labkit.deploy.runtimes.worker"
    ) -> None:
        self._log = log
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                # -P: the working folder is not searched for modules, whatever lies in it
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": search_path()},
                start_new_session=True,  # Ctrl-C is for the parent, which then ends it
            )
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._task = task
        self._begun = self._closed = False

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line.decode())
        self._answers.put(None)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, command: str, *, timeout: float, **arguments: Any) -> Any:
        """Let it do one thing, and wait for the answer.

        Args:
            command: a name in `labkit.deploy.runtimes.worker.COMMANDS`.
            timeout: seconds; a worker that takes longer is ended.
            arguments: JSON values.

        Raises:
            WorkerError: an error there, a crash, or no answer in time.
        """
        request: dict[str, Any] = {"command": command, **arguments}
        if not self._begun:
            request["task"], self._begun = self._task, True
        line = None
        with contextlib.suppress(OSError, ValueError):  # it has ended, or was closed
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            try:
                line = self._answers.get(timeout=timeout)
            except queue.Empty:
                self.close()
                raise WorkerError(f"no answer within {timeout:.0f} s") from None
        if line is None:
            raise WorkerError(self._end())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(one_line(answer["error"]))
        return answer["answer"]

    def _end(self) -> str:
        """Why the process has ended, though nobody asked it to."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.close()
            return "its process closed its output"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return one_line(f"its process ended with exit code {code}{last}")

    def close(self) -> None:
        """End the process, whatever it is doing; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):  # it leads a group of its own
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def search_path() -> str:
    """PYTHONPATH for a worker: it imports the very labkit of its parent."""
    own = str(Path(labkit.__file__).parents[1])  # what holds the package, never a folder in it
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def one_line(text: str) -> str:
    """The words of a message, on one line that is not too long."""
    words = " ".join(text.split())
    return words if len(words) <= MAX_REASON else words[: MAX_REASON - 1] + "…"
