"""A warm kernel is like a plain one, but that everything is imported already."""

from __future__ import annotations

import json
import os
import sys

import pytest

from labkit.warm import forkserver
from tests.warm.kernels import PLAIN, WARM, ask, ask_once, kernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# All that a notebook could tell a kernel by. What libraries do when they are imported is
# done here too, so that both kernels have had it done.
STATE = """
import gc, json, locale, logging, os, resource, signal, sys, threading, time, warnings
names = sorted(globals())
import ipywidgets, labkit, numpy, pandas, plotly.io, sklearn.datasets, threadpoolctl, torch

def plain(value):
    return repr(value).partition(" at 0x")[0]

print(json.dumps({
    "names": names,
    "main": [__name__, sorted(vars(sys.modules["__main__"]).keys() - globals().keys())],
    "argv": [os.path.splitext(argument)[1] or argument for argument in sys.argv],
    "path": sys.path,
    "cwd": os.getcwd(),
    "umask": os.umask(0o22),
    "session": os.getsid(0) == os.getpid(),
    "limits": [resource.getrlimit(number) for number in range(10)],
    "signals": [[s.name, plain(signal.getsignal(s))] for s in signal.Signals],
    "collector": [gc.isenabled(), gc.get_threshold()],
    "hooks": [plain(h) for h in (sys.excepthook, sys.displayhook, *sys.path_hooks)],
    "streams": [s.encoding for s in (sys.stdin, sys.__stdout__, sys.__stderr__)],
    "flags": [repr(sys.flags), sys.getrecursionlimit(), sys.getswitchinterval()],
    "locale": [locale.getlocale(), time.tzname],
    "logging": [logging.root.level, [plain(h) for h in logging.root.handlers]],
    "errors": [f for f in map(str, warnings.filters) if f.startswith("('error'")],
    "default": [f for f in map(str, warnings.filters) if "__main__" in f],
    "threads": sorted({t.name for t in threading.enumerate() if "Thread-" not in t.name}),
    "numpy": [numpy.geterr(), numpy.get_printoptions()],
    "pandas": pandas.describe_option(_print_desc=False).casefold(),
    "torch": [
        str(torch.get_default_dtype()),
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.is_grad_enabled(),
        torch.cuda.is_initialized(),
    ],
    "pools": sorted([p["prefix"], p["num_threads"]] for p in threadpoolctl.threadpool_info()),
    "plotly": [plotly.io.renderers.default, plotly.io.templates.default],
    "widgets": len(ipywidgets.widgets.widget._instances),
    "environment": {k: v for k, v in os.environ.items() if not k.startswith("JPY_")},
}, default=str))
"""
# A plain kernel has these too, from whichever library it imports first.
SET_BY_IMPORTS = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "PYDEVD_USE_FRAME_EVAL"}


def test_it_is_like_a_plain_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv("LABKIT_FORKSERVER", raising=False)
    warm, plain = (json.loads(ask_once(STATE, name, cwd=str(tmp_path))) for name in (WARM, PLAIN))
    assert warm["environment"].pop("LABKIT_FORKSERVER")
    for name in SET_BY_IMPORTS:  # in this process too, which both inherit from
        warm["environment"].pop(name, None)
        plain["environment"].pop(name, None)
    assert warm == plain


def test_nothing_leaks_from_one_to_the_next(tmp_path):
    """Not even from one that lives: names, modules, variables, options, random numbers."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"name = {name!r}")
    leave = (
        "import helper, os, torch, numpy as np, plotly.io, pandas, random\n"
        "print(helper.name, 'LEFT' in os.environ, 'left' in dir(), plotly.io.templates.default,"
        " torch.get_default_dtype(), pandas.get_option('display.max_rows'))\n"
        "print(torch.rand(1).item(), np.random.rand(), random.random())\n"
        "left = 1; os.environ['LEFT'] = '1'; plotly.io.templates.default = 'none'\n"
        "torch.set_default_dtype(torch.float64); pandas.set_option('display.max_rows', 7)\n"
        "torch.manual_seed(0); np.random.seed(0); random.seed(0); os.chdir('/')\n"
    )
    with kernel(cwd=str(tmp_path / "a")) as (_, first):
        before = ask(first, leave).split("\n")
        after = ask_once(leave, cwd=str(tmp_path / "b")).split("\n")
    assert before[0].split() == ["a", "False", "False", "plotly", "torch.float32", "60"]
    assert after[0].split() == ["b", "False", "False", "plotly", "torch.float32", "60"]
    drawn = before[1].split(), after[1].split()
    assert not set(drawn[0]) & set(drawn[1])


@pytest.fixture
def own_server(monkeypatch):
    """A server that has imported everything, whatever batches this process has run before."""
    server = forkserver.ForkServer()
    monkeypatch.setattr(forkserver, "_shared", (os.getpid(), server))
    yield
    server.close()


def test_a_notebook_finds_everything_imported(tmp_path, own_server):
    """What is imported late costs every run its time: only what reads the environment is."""
    source = (
        "import sys; before = set(sys.modules)\n"
        "import anywidget, ipywidgets, labkit, numpy, pandas, torch\n"
        "import plotly.express as px, plotly.graph_objects as go\n"
        "network = torch.nn.Linear(2, 1)\n"
        "optimizer = torch.optim.Adam(network.parameters())\n"
        "network(torch.rand(4, 2)).sum().backward(); optimizer.step()\n"
        "display(go.FigureWidget(go.Scatter(y=[1, 2])), ipywidgets.IntSlider())\n"
        "labkit.fit(labkit.Recipe(steps=2)); pandas.DataFrame({'a': [1]})._repr_html_()\n"
        "from labkit.warm.preload import FORGOTTEN\n"
        "print('labkit.panels' in before)\n"
        "late = sys.modules.keys() - before - set(FORGOTTEN)\n"
        "print(sorted(name for name in late if not name.startswith('pyarrow')))\n"
    )
    assert ask_once(source, cwd=str(tmp_path)) == "True\n[]"


def test_modules_of_the_working_folder_come_first(tmp_path):
    """Before installed ones, as in a plain kernel, but not before Python's own."""
    for name in ("narwhals", "torch", "random"):
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "pandas").mkdir()  # without an __init__.py it is nothing
    source = (
        "import narwhals, pandas, random, torch\n"
        "for module in (narwhals, pandas, random, torch):\n"
        "    print(module.__file__)"
    )
    warm, plain = (ask_once(source, name, cwd=str(tmp_path)) for name in (WARM, PLAIN))
    assert warm == plain
    assert warm.count(str(tmp_path)) == 2


@pytest.mark.parametrize("renderer", ["png", None])
def test_plotly_reads_the_environment_of_the_kernel(renderer, tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "PLOTLY_RENDERER"}
    if renderer:
        env["PLOTLY_RENDERER"] = renderer
    source = "import plotly.io; print(plotly.io.renderers.default)"
    assert ask_once(source, cwd=str(tmp_path), env=env) == (renderer or "plotly_mimetype")


def test_threads_as_a_batch_asks_for(tmp_path):
    source = (
        "import os, threadpoolctl, torch\n"
        "pools = threadpoolctl.threadpool_info()\n"
        "print(torch.get_num_threads(), {pool['num_threads'] for pool in pools},"
        " os.environ['OMP_NUM_THREADS'])"
    )
    env = {**os.environ, "LABKIT_THREADS": "3"}
    assert ask_once(source, cwd=str(tmp_path), env=env) == "3 {3} 3"


def test_the_debugger_answers(tmp_path):
    with kernel(cwd=str(tmp_path)) as (_, client):
        body = {"type": "request", "seq": 1, "command": "initialize", "arguments": {}}
        for command in ("initialize", "debugInfo"):
            request = client.session.msg("debug_request", {**body, "command": command})
            client.control_channel.send(request)
            reply = client.get_control_msg(timeout=60)
            assert reply["content"]["success"] is True, command
