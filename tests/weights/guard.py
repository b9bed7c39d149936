"""Loads weight files under guard and says what happened to each, as one JSON line per file.

    python guard.py HOW FILE…

HOW is `labkit`, or `unguarded`: torch's full unpickling, which shows that the guard sees.
Every file is loaded in a child of its own: within 1 GB more than torch itself takes, with
an audit hook (PEP 578) that notes whatever executes, writes or connects.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import types
from typing import Any

GIB = 2**30
_FORBIDDEN = (
    "os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty os.startfile os.kill "
    "os.remove os.rename os.mkdir os.rmdir os.chmod os.chown os.link os.symlink os.truncate "
    "os.putenv pty.spawn subprocess.Popen shutil.rmtree shutil.move shutil.copyfile "
    "socket.connect socket.bind socket.getaddrinfo socket.gethostbyname urllib.Request "
    "pickle.find_class marshal.load ctypes.dlopen webbrowser.open code.__new__ "
    "tempfile.mkstemp tempfile.mkdtemp"
)
FORBIDDEN = _FORBIDDEN.split()

seen: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    global watching
    if not watching:
        return
    bad = event in FORBIDDEN
    if event == "open":
        _, mode, flags = arguments
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        bad = bool(flags & writes) or any(letter in (mode or "") for letter in "wax+")
    elif event == "exec" and isinstance(arguments[0], types.CodeType):
        bad = not os.path.isfile(arguments[0].co_filename)  # modules come from files
    elif event == "compile":
        bad = arguments[1] not in ("<unknown>",) and arguments[0] is not None  # ast.literal_eval
    elif event == "import":
        bad = arguments[0].startswith("canary")
    if bad:
        watching = False
        seen.append(f"{event} {str(arguments)[:200]}")
        watching = True


def load(how: str, path: str) -> dict[str, Any]:
    """What became of one file."""
    global watching
    from labkit import weights
    from labkit.core.errors import FileError

    started = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watching = True
    try:
        if how == "unguarded":
            import torch

            torch.load(path, weights_only=False)
            outcome = "loaded"
        else:
            loaded = weights.load(path)
            outcome = f"loaded {len(loaded.tensors)}"
    except FileError as error:
        outcome = f"refused {error}"
    except BaseException as error:
        outcome = f"{type(error).__name__} {error}"
    watching = False
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "path": path,
        "outcome": outcome,
        "seconds": time.process_time() - started,
        "megabytes": (peak - before) / 1024,
        "seen": seen,
    }


def virtual_memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def main(how: str, *paths: str) -> None:
    import onnx  # noqa: F401
    import torch

    from labkit import weights

    torch.set_num_threads(1)
    sys.addaudithook(watch)
    for warm in paths[: int(os.environ["WARM"])]:  # what libraries import when first used
        weights.load(warm)
    for path in paths:
        child = os.fork()
        if child == 0:
            limit = virtual_memory() + GIB
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
            try:
                print(json.dumps(load(how, path)), flush=True)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"path": path, "outcome": f"died {status}"}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
