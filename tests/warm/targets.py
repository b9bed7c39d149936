"""What forks are asked to do in tests, named by what it is."""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

FOREVER = 600


def nothing(arguments: list[str] | None = None) -> None:
    """Neither imports nor does anything."""


def numpy() -> None:
    """Preloads numpy only."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy

    assert numpy.random


def a_thread() -> None:
    """Preloads a thread, as a careless library may."""
    threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True).start()


def broken() -> None:
    """Cannot be preloaded."""
    raise RuntimeError("broken")


def slow() -> None:
    """Takes for ever to preload."""
    time.sleep(FOREVER)


def tell(arguments: list[str]) -> None:
    """Say what a process knows of itself."""
    facts = {
        "arguments": arguments,
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "path": sys.path,
        "main": sorted(vars(sys.modules["__main__"])),
        "leads": os.getsid(0) == os.getpid() == os.getpgrp(),
        "descriptors": [n for n in range(3, 100) if _is_open(n)],
        "input": sys.stdin.read(),
        "signals": [
            signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
        ],
        "sacrifice": int(Path("/proc/self/oom_score_adj").read_text()),
    }
    print(json.dumps(facts))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def draw(arguments: list[str]) -> None:
    """Random numbers of every kind."""
    import tempfile
    import uuid

    import numpy

    generator = numpy.random.default_rng()
    name = next(tempfile._get_candidate_names())
    legacy = numpy.random.rand()  # noqa: NPY002
    print(random.random(), legacy, generator.random(), uuid.uuid4(), name)


def end(arguments: list[str]) -> object:
    """End in the way that is asked for."""
    how, value = arguments
    if how == "return":
        return json.loads(value)
    if how == "exit":
        sys.exit(json.loads(value))
    if how == "raise":
        raise RuntimeError(value)
    if how == "at once":
        os._exit(int(value))
    if how == "signal":
        os.kill(os.getpid(), int(value))
        time.sleep(FOREVER)
    raise ValueError(how)


def leave_in_order(arguments: list[str]) -> None:
    """Return while a thread still works, with something to do at exit."""

    def work() -> None:
        time.sleep(0.2)
        print("worked")

    atexit.register(print, "at exit")
    threading.Thread(target=work).start()


def wait(arguments: list[str]) -> None:
    """Run until ended."""
    print(os.getpid(), flush=True)
    time.sleep(FOREVER)


def start_a_family(arguments: list[str]) -> None:
    """Start a program, a fork, and a fork's fork in a session of its own; print their pids."""
    program = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER})"])
    fork = os.fork()
    if fork == 0:
        time.sleep(FOREVER)
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        escaped = os.fork()
        if escaped == 0:
            os.environ.clear()
            time.sleep(FOREVER)
        os.write(writer, str(escaped).encode())
        os._exit(0)
    os.waitpid(between, 0)
    print(json.dumps([os.getpid(), program.pid, fork, int(os.read(reader, 100))]), flush=True)
    if "wait" in arguments:
        time.sleep(FOREVER)


def ask_for_another(arguments: list[str]) -> None:
    """Ask the server in the environment for a fork that waits."""
    from labkit.warm.forkserver import shared

    another = shared().fork("tests.warm.targets:wait", log=arguments[0])
    print(json.dumps([os.getpid(), another.pid]), flush=True)
    time.sleep(FOREVER)


def wait_and_ask(arguments: list[str]) -> int | None:
    """Wait for a file, then have a fork write another."""
    from labkit.warm.forkserver import shared

    go, answer = arguments
    while not Path(go).exists():
        time.sleep(0.01)
    return shared().fork("tests.warm.targets:write", [answer]).wait(FOREVER)


def write(arguments: list[str]) -> None:
    """Write whether numpy is there without having been asked for."""
    Path(arguments[0]).write_text("warm" if "numpy" in sys.modules else "cold")
