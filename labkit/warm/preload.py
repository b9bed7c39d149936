"""What the preloaded process imports, and uses once, so that no fork has to."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import sys
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from labkit.warm.deferred import defer_iris
from labkit.warm.forkserver import WANTED
from labkit.warm.process import find, thread_pools

# Libraries that start threads as soon as they are loaded, unless they are told not to;
# and a debugger that would tell every kernel how this process was started.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}

# What a kernel imports before it looks into the working folder for modules.
KERNEL = (
    "faulthandler",
    "sqlite3",
    "tornado.platform.asyncio",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.magics.ast_mod",
    "IPython.core.magics.execution",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "IPython.utils.module_paths",
    "IPython.utils.timing",
)

# What notebooks import, or make these import later.
NOTEBOOK = (
    "torch._dynamo",
    "numpy",
    "pandas",
    "pandas.io.formats.html",
    "sklearn.datasets",
    "threadpoolctl",
    "plotly.express",
    "plotly.graph_objects",
    "plotly.basewidget",
    "plotly.io._html",
    "narwhals._interchange",
    "anywidget",
    "ipywidgets",
    "stack_data",  # for tracebacks
    "pygments.formatters.terminal256",
    "zmq.utils.garbage",
    "tabulate",  # for what torch._dynamo has to say when a process ends
)

# What takes long and is left out where it is known that nothing imports it.
SPARED = ("pandas", "sklearn", "labkit")

# What runs a notebook. These are names, as those of other packages are: nothing of
# `labkit.batch` is imported unless it is there.
RUNNER = (
    "papermill",
    "nbclient",
    "nbconvert",
    "jupyter_client.asynchronous",
    "ipykernel.kernelspec",
    "labkit.batch.client",
    "labkit.batch.runner",
    "labkit.warm.kernel",
    "labkit.warm.provisioner",
)

# These read the environment when they are imported: a fork imports them anew.
FORGOTTEN = ("plotly.io._renderers",)

KERNELS_OWN: frozenset[str] = frozenset()  # what was imported by KERNEL


def preload() -> None:
    """Import and use everything; what fails is left out, with a line on stderr."""
    global KERNELS_OWN
    os.environ.update(QUIET)
    defer_iris()
    _import(KERNEL)
    KERNELS_OWN = frozenset(sys.modules) - {"labkit"}
    _import(("torch",))
    with without_gpu():
        with as_if_in_a_kernel():
            _import(tuple(name for name in NOTEBOOK if worth_it(name.partition(".")[0])))
        _import(RUNNER)
        for use in USES:
            try:
                find(use)() if isinstance(use, str) else use()
            except Exception:
                name = use if isinstance(use, str) else use.__name__
                print(f"labkit: warm kernels start without {name}:", file=sys.stderr)
                traceback.print_exc()
    for name in FORGOTTEN:
        forget(name)
    keep_at_exit()


def worth_it(package: str) -> bool:
    """Whether a notebook may import a package; labkit's own notebooks use all of them."""
    wanted = os.environ.get(WANTED)
    return (
        package not in SPARED or wanted is None or bool({package, "labkit"} & {*wanted.split(",")})
    )


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"labkit: warm kernels go without {name}: {error}", file=sys.stderr)


@contextlib.contextmanager
def without_gpu() -> Iterator[None]:
    """Once CUDA has been asked anything, no fork can use it, and an optimizer's step asks."""
    if "torch" not in sys.modules:
        yield
        return
    with (
        mock.patch("torch.cuda.is_available", return_value=False),
        mock.patch("torch.cuda.device_count", return_value=0),
    ):
        yield


@contextlib.contextmanager
def as_if_in_a_kernel() -> Iterator[None]:
    """Pandas looks where it is when it is imported, and shows wide tables accordingly."""
    shell = types.SimpleNamespace(kernel=None)
    vars(builtins)["get_ipython"] = lambda: shell
    try:
        yield
    finally:
        del vars(builtins)["get_ipython"]


def forget(name: str) -> None:
    """Have a module imported anew at the next import of it."""
    parent, _, last = name.rpartition(".")
    if sys.modules.pop(name, None):
        delattr(sys.modules[parent], last)


def keep_at_exit() -> None:
    """What was made here is not a fork's to take apart when it ends, as torch does op by op."""
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False


def train_a_step() -> None:
    """Torch imports much of itself at the first step of an optimizer."""
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        for kind in (torch.optim.SGD, torch.optim.Adam):
            optimizer = kind(network.parameters(), lr=0.1)
            optimizer.zero_grad()
            outputs = network(torch.rand(8, 2))
            torch.nn.functional.cross_entropy(outputs, torch.zeros(8, dtype=torch.long)).backward()
            optimizer.step()


def draw_figures() -> None:
    """Plotly imports the classes of traces when they are first used."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    traces = [
        go.Scatter(y=[0, 1], line={"width": 1}, marker={"size": [1, 2]}),
        go.Bar(y=[0, 1]),
        go.Histogram(x=[0, 1]),
        go.Heatmap(z=[[0, 1]], colorbar={"title": {"text": "z"}}),
        go.Contour(z=[[0, 1], [1, 2]]),
    ]
    figure = make_subplots(2, 1)
    for trace in traces:
        figure.add_trace(trace, row=1, col=1)
    figure.add_annotation(text="a", x=0, y=0)
    figure.update_layout(title={"text": "t"}, legend={"x": 0}, hovermode="x", template="plotly")
    figure.add_hline(1)
    go.Figure(figure).to_json()
    _ = go.FigureWidget, figure.layout.template.data


def look_at_labkit() -> None:
    """`labkit` imports what its names stand for when they are first used."""
    import labkit

    for name in dir(labkit) if worth_it("labkit") else ():
        getattr(labkit, name)


def find_provisioners() -> None:
    """Entry points name the kernel provisioners, and finding them reads every installed package."""
    from jupyter_client.provisioning.factory import KernelProvisionerFactory

    KernelProvisionerFactory.instance()  # type: ignore[no-untyped-call]


USES: tuple[Callable[[], Any] | str, ...] = (
    train_a_step,
    draw_figures,
    look_at_labkit,
    "labkit.batch.page:compile_templates",
    find_provisioners,
    thread_pools,
)
