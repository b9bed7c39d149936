"""What a fork does to become an IPython kernel."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder

from labkit.warm import preload


def main(arguments: list[str]) -> None:
    """Be what `python -m ipykernel_launcher` with these arguments is."""
    from ipykernel.kernelapp import IPKernelApp

    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [str(launcher and launcher.origin), *arguments]
    forget_shadowed(os.getcwd())
    # It ends with its keeper, and need not look every second whether its parent lives.
    app = IPKernelApp.instance(parent_handle=1)
    with kernels_own_modules():
        app.initialize()
    app.start()


@contextmanager
def kernels_own_modules() -> Iterator[None]:
    """Let the kernel take for its own only what it has itself imported.

    It notes the files of all modules for its debugger, which does not stop in them; that
    would be torch and all else, and to look at each would copy much of the shared memory.
    """
    from ipykernel import ipkernel

    own = {name: sys.modules[name] for name in preload.KERNELS_OWN if name in sys.modules}
    vars(ipkernel)["sys"] = types.SimpleNamespace(**{**vars(sys), "modules": own})
    try:
        yield
    finally:
        vars(ipkernel)["sys"] = sys


def forget_shadowed(folder: str) -> None:
    """Forget packages that the working folder has a module of the same name of.

    A kernel looks there before it looks for installed packages, except for what it has
    itself imported by then.
    """
    try:
        entries = os.listdir(folder)
    except PermissionError:
        return
    names = {entry.partition(".")[0] for entry in entries} & sys.modules.keys()
    for name in names - preload.KERNELS_OWN - sys.stdlib_module_names:
        local = PathFinder.find_spec(name, [folder])
        installed = getattr(sys.modules[name], "__file__", None)
        if local and local.origin and os.path.realpath(local.origin) != installed:
            for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
                del sys.modules[module]
