"""Twenty-four runs of a small notebook: `labkit run` beside papermill.

The notebook imports torch, plotly and ipywidgets, trains a small network for under a
second and draws its loss. The peers are Python loops over `papermill.execute_notebook`,
in one process and in two that share the runs. Every command is a process of its own, so
that start-up is counted; labkit also writes each run's page, status and the results.
Interleaved rounds, medians of their ratios.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.measure import Row, median_ratio

RUNS, ROUNDS = 24, 3

CELLS = (
    "import ipywidgets\nimport plotly.graph_objects as go\nimport torch",
    """torch.manual_seed(seed)
torch.set_num_threads(1)
x = torch.linspace(-1, 1, 200)[:, None]
y = torch.sin(4 * x)
network = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=lr)
losses = []
for _ in range(300):
    optimizer.zero_grad()
    loss = (network(x) - y).square().mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())""",
    "go.Figure(go.Scatter(y=losses))",
    "ipywidgets.IntSlider(value=len(losses))",
)

LOOP = """
import json, sys, papermill
notebook, out, seeds = sys.argv[1:]
for seed in json.loads(seeds):
    papermill.execute_notebook(
        notebook, f"{out}/{seed}.ipynb", {"seed": seed}, progress_bar=False, cwd=out
    )
"""


def notebook(folder: Path) -> Path:
    """The notebook that everybody runs."""
    parameters = new_code_cell("seed = 0\nlr = 0.01", metadata={"tags": ["parameters"]})
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [parameters, *map(new_code_cell, CELLS)]
    path = folder / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def _seconds(commands: list[list[str]]) -> float:
    began = time.perf_counter()
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in started:
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{process.args} failed: {errors[-2000:]}")
    return time.perf_counter() - began


def labkit() -> float:
    """Seconds that `labkit run` takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = notebook(Path(folder))
        command = [str(Path(sys.executable).with_name("labkit")), "run", str(path)]
        took = _seconds([[*command, "--seeds", str(RUNS), "--out", f"{folder}/out"]])
        done = [json.loads(p.read_text()) for p in Path(folder, "out").glob("*/status.json")]
        executed = list(Path(folder, "out").glob("*/small.ipynb"))
        pages = list(Path(folder, "out").glob("*/small.html"))
        assert [status["state"] for status in done] == ["done"] * RUNS
        assert len(executed) == len(pages) == RUNS
        return took


def papermill(processes: int) -> float:
    """Seconds that papermill's loop takes, its runs shared by several processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = notebook(Path(folder))
        shares = [list(range(RUNS))[first::processes] for first in range(processes)]
        took = _seconds(
            [[sys.executable, "-c", LOOP, str(path), folder, json.dumps(own)] for own in shares]
        )
        assert len(list(Path(folder).glob("[0-9]*.ipynb"))) == RUNS
        return took


def rows() -> list[Row]:
    """Both peers; notebooks per minute."""
    ours, one, two = [], [], []
    for _ in range(ROUNDS):
        ours.append(labkit())
        one.append(papermill(1))
        two.append(papermill(2))

    def rate(seconds: list[float]) -> str:
        return f"{60 * RUNS / statistics.median(seconds):.0f} a minute"

    return [
        Row(
            f"{RUNS} runs: `labkit run` / {name}",
            rate(ours),
            rate(peer),
            median_ratio(peer, ours),
            f"at least {target}",
            median_ratio(peer, ours) >= target,
        )
        for name, peer, target in (
            ("a papermill loop", one, 10),
            ("papermill in two processes", two, 6),
        )
    ]
