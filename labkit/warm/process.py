"""What a fork does to be like a fresh process."""

from __future__ import annotations

import atexit
import gc
import importlib
import multiprocessing.process
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from labkit.warm.forkserver import ADDRESS

SACRIFICE = 500  # out of 1000: the system ends a run before whatever started it
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _search_path() -> list[str]:
    """What PYTHONPATH puts first on `sys.path`."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys(os.path.abspath(folder) for folder in folders if folder))


INHERITED = len(_search_path())  # of the preloaded process itself


def become(request: dict[str, Any], address: str) -> NoReturn:
    """Be the process that is asked for, until its function returns."""
    code = 1
    try:
        _settle(request, address)
        code = find(request["target"])(request["arguments"]) or 0
    except SystemExit as leaving:
        code = _exit_code(leaving.code)
    except BaseException as problem:
        traceback.print_exc()
        code = -signal.SIGINT if isinstance(problem, KeyboardInterrupt) else 1
    finally:
        _leave(code)


def find(target: str) -> Callable[..., Any]:
    """The function that "module:name" names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def _settle(request: dict[str, Any], address: str) -> None:
    os.setsid()
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    with suppress(OSError):  # a container may forbid it
        Path("/proc/self/oom_score_adj").write_text(str(SACRIFICE))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.environ[ADDRESS] = address
    time.tzset()
    sys.path[:INHERITED] = _search_path()
    sys.argv = [request["target"], *request["arguments"]]
    sys.modules["__main__"] = types.ModuleType("__main__")
    tempfile.tempdir = None
    multiprocessing.process.current_process().authkey = os.urandom(32)
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.default_generator.seed()  # `torch.seed` would ask CUDA too
    _use_threads(request["threads"])
    gc.enable()


def _use_threads(threads: int | None) -> None:
    """Set what libraries would read from the environment if they were loaded now."""
    if threads is None:
        given = os.environ.get(THREADS[0], "")
        threads = int(given) if given.isdecimal() else len(os.sched_getaffinity(0))
    else:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    if "threadpoolctl" in sys.modules:
        thread_pools().limit(limits=threads)


@cache
def thread_pools() -> Any:
    """The libraries with threads that are loaded; to find them takes a while, so once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _exit_code(code: object) -> int:
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


def _leave(code: int) -> NoReturn:
    """End as the interpreter does, but without taking the inherited modules apart."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        if code < 0:  # Python ends by the signal that interrupted it
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)
