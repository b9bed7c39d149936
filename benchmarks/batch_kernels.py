"""Warm kernels beside plain ones: memory of one more, time to its first answer, and 300 in a row.

Method: kernels are started through jupyter_client, as papermill and JupyterLab do it. Each
runs a cell that imports torch, plotly and ipywidgets, trains a small network and draws it.

* Memory: the unique set size (what would be freed if it ended) of the kernel and whatever
  came with it, so of a warm one with its keeper, while three more kernels of its kind live.
* Time: from the request until the kernel has answered for the first time, and until that
  cell has run; interleaved rounds, medians of their ratios.
* Hangs: warm kernels are started, asked and ended, four at a time; one that has not done
  so within a minute counts as hung.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from queue import Empty
from typing import Any

import psutil
from jupyter_client import KernelManager

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.warm.forkserver import Fork

WARM, PLAIN = "labkit-warm", "python3"
OTHERS = 3  # kernels of the same kind that live meanwhile
ROUNDS = 5
STARTS, AT_ONCE, PATIENCE = 300, 4, 60.0

CELL = """
import ipywidgets, plotly.graph_objects as go, torch
x = torch.linspace(-1, 1, 200)[:, None]
network = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
optimizer, losses = torch.optim.Adam(network.parameters()), []
for _ in range(100):
    optimizer.zero_grad()
    loss = (network(x) - torch.sin(4 * x)).square().mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
go.FigureWidget(go.Scatter(y=losses))
"""


class HungError(Exception):
    """A kernel did not answer."""


@contextmanager
def kernel(name: str) -> Iterator[tuple[KernelManager, Any]]:
    """A kernel that was asked for, and a client for it."""
    manager = KernelManager(kernel_name=name)
    manager.start_kernel()
    client = manager.client()
    client.start_channels(hb=False)
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def answer(client: Any, message: str) -> dict[str, Any]:
    """The kernel's reply to a message.

    Raises:
        HungError: there is none in time.
    """
    try:
        reply: dict[str, Any] = {"parent_header": {"msg_id": None}}
        while reply["parent_header"]["msg_id"] != message:
            reply = client.get_shell_msg(timeout=PATIENCE)
    except Empty:
        raise HungError from None
    return dict(reply["content"])


def run(client: Any, source: str) -> None:
    """Run a cell, which must go well."""
    content = answer(client, client.execute(source))
    assert content["status"] == "ok", content


def unique_bytes(manager: KernelManager) -> int:
    """The unique set size of a kernel and what came with it."""
    process = manager.provisioner.process  # type: ignore[union-attr]
    pids = [process.pid, process.keeper] if isinstance(process, Fork) else [process.pid]
    return sum(int(psutil.Process(pid).memory_full_info().uss) for pid in pids)


def memory(name: str) -> float:
    """MB of one more kernel after the cell; the median of all that live."""
    with ExitStack() as living:
        kernels = [living.enter_context(kernel(name)) for _ in range(OTHERS + 1)]
        for _, client in kernels:
            run(client, CELL)
        return statistics.median(unique_bytes(manager) for manager, _ in kernels) / 1e6


def first_answer(name: str) -> float:
    """Seconds until a kernel answers."""
    began = time.perf_counter()
    with kernel(name) as (_, client):
        answer(client, client.kernel_info())
        return time.perf_counter() - began


def first_cell(name: str) -> float:
    """Seconds until it has run the cell."""
    began = time.perf_counter()
    with kernel(name) as (_, client):
        run(client, CELL)
        return time.perf_counter() - began


def hangs() -> tuple[int, float]:
    """How many of many kernels did not answer in time, and the seconds for all."""

    def start(_: int) -> bool:
        try:
            with kernel(WARM) as (_manager, client):
                run(client, "1 + 1")
        except HungError:
            return True
        return False

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hung = sum(pool.map(start, range(STARTS)))
    return hung, time.perf_counter() - began


def rows() -> list[Row]:
    """Memory, times, hangs."""
    with kernel(WARM) as (manager, client):  # the preloaded process starts with the first
        run(client, CELL)
        assert isinstance(manager.provisioner.process, Fork)  # type: ignore[union-attr]
    warm_memory, plain_memory = memory(WARM), memory(PLAIN)
    found = [
        Row(
            "unique memory of one more kernel, warm / plain",
            f"{warm_memory:.0f} MB",
            f"{plain_memory:.0f} MB",
            warm_memory / plain_memory,
            "at most 0.25",
            warm_memory <= 0.25 * plain_memory,
        )
    ]
    for what, measure in (("answers", first_answer), ("has run its cell", first_cell)):
        figures = interleaved(
            {name: partial(measure, name) for name in (WARM, PLAIN)}, rounds=ROUNDS
        )
        warm, plain = (statistics.median(figures[name]) for name in (WARM, PLAIN))
        found.append(
            Row(
                f"until a kernel {what}, plain / warm",
                f"{warm:.2f} s",
                f"{plain:.2f} s",
                median_ratio(figures[PLAIN], figures[WARM]),
                "answers in 0.3 s" if measure is first_answer else "",
                warm <= 0.3 or measure is not first_answer,
            )
        )
    hung, seconds = hangs()
    found.append(
        Row(
            f"{STARTS} kernels started and answered, {AT_ONCE} at a time",
            f"{hung} hung, {seconds:.0f} s",
            "",
            None,
            "0 hung",
            hung == 0,
        )
    )
    return found
