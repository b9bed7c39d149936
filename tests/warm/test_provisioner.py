"""Warm kernels as Jupyter sees them: started, interrupted, restarted and ended like others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from importlib import resources
from pathlib import Path

import nbformat
import psutil
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from labkit.warm import forkserver, provisioner
from labkit.warm.forkserver import Fork
from labkit.warm.provisioner import WarmProvisioner
from tests.warm.kernels import WARM, ask, kernel

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
SOON = 20.0  # seconds


def test_it_is_installed_as_a_choice():
    spec = KernelSpecManager().get_kernel_spec(WARM)
    shipped = json.loads(resources.files("labkit.warm").joinpath("kernel.json").read_text())
    assert spec.display_name == shipped["display_name"] == "labkit, warm"
    assert spec.to_dict()["metadata"] == shipped["metadata"]
    assert spec.argv[1:] == [*provisioner.LAUNCHER[1:], "-f", "{connection_file}"]


@linux
def test_nbclient_runs_a_notebook(tmp_path):
    cells = map(new_code_cell, ["import os, torch\nprint(os.getcwd())", "1 / 0"])
    notebook = new_notebook(cells=list(cells))
    client = NotebookClient(
        notebook,
        kernel_name=WARM,
        allow_errors=True,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    nbformat.validate(notebook)
    assert Path(notebook.cells[0].outputs[0].text.strip()).samefile(tmp_path)
    assert notebook.cells[1].outputs[0].ename == "ZeroDivisionError"


@linux
def test_a_kernel_from_start_to_end(tmp_path):
    with kernel(cwd=str(tmp_path)) as (manager, client):
        fork = manager.provisioner.process
        assert isinstance(fork, Fork)
        assert manager.is_alive()
        assert ask(client, "import os; x = 1; print(os.getpid())") == str(fork.pid)
        told = asyncio.run(manager.provisioner.get_provisioner_info())
        assert told["pid"] == fork.pid

        busy = "import time\nprint('busy', flush=True)\ntime.sleep(600)"
        client.execute(busy, stop_on_error=False)
        while client.get_iopub_msg(timeout=SOON)["content"].get("text") != "busy\n":
            pass
        manager.interrupt_kernel()
        while (message := client.get_iopub_msg(timeout=SOON))["msg_type"] != "error":
            pass
        assert message["content"]["ename"] == "KeyboardInterrupt"
        client.get_shell_msg(timeout=SOON)
        assert ask(client, "print(x)") == "1"

        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=SOON)
        again = manager.provisioner.process
        assert again.pid != fork.pid
        assert fork.poll() == -signal.SIGKILL
        assert ask(client, "print('x' in dir())") == "False"

        manager.shutdown_kernel()
        assert again.poll() == 0
        assert not manager.is_alive()


@linux
@pytest.mark.parametrize(("how", "code"), [("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", -9)])
def test_a_kernel_that_dies_is_seen_to_have_died(how, code, tmp_path):
    with kernel(cwd=str(tmp_path)) as (manager, client):
        fork = manager.provisioner.process
        client.execute(f"import os; {how}")
        deadline = time.monotonic() + SOON
        while manager.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert fork.returncode == code


@linux
def test_what_a_kernel_started_ends_with_it(tmp_path):
    with kernel(cwd=str(tmp_path)) as (_, client):
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        source = f"import subprocess as s\np = s.Popen({command}, start_new_session=True)"
        pid = int(ask(client, f"{source}\nprint(p.pid)"))
        assert psutil.pid_exists(pid)
    deadline = time.monotonic() + SOON
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Spec(KernelSpec):
    """A kernel that only says that it was started, by its exit code."""

    def __init__(self) -> None:
        super().__init__(argv=[sys.executable, "-c", "raise SystemExit(23)"], language="python")


def launch(monkeypatch, command: list[str], **settings) -> WarmProvisioner:
    chosen = WarmProvisioner(kernel_id="k", kernel_spec=Spec(), parent=KernelManager())
    chosen.connection_info = {}
    warned: list[str] = []
    monkeypatch.setattr(chosen.log, "warning", lambda text, *of: warned.append(text % of))
    asyncio.run(chosen.launch_kernel(command, env=dict(os.environ), **settings))
    assert asyncio.run(chosen.wait()) == 23
    (chosen.told,) = warned
    return chosen


def test_where_processes_cannot_be_forked_a_plain_kernel_is_started(monkeypatch):
    monkeypatch.setattr(forkserver, "unavailable", lambda: "no forks here")
    command = [sys.executable, "-c", "raise SystemExit(23)"]
    monkeypatch.setattr(provisioner, "LAUNCHER", command)
    assert launch(monkeypatch, command).told == (
        "labkit: a plain kernel instead of a warm one: no forks here"
    )


def test_a_kernel_of_another_kind_is_started_as_it_is(monkeypatch):
    assert "options of its own" in launch(monkeypatch, Spec().argv).told
