"""A hundred networks at once, beside a plain PyTorch loop over the same recipes.

The loop is what one would write without labkit: build the network, draw the batches, and
call the optimizer's step; it records nothing. Both start from the same weights and see the
same batches, and their final weights are compared: the table gives the largest difference.
The sweep records what it always does; histories are made of it when somebody asks.
Interleaved rounds, medians of their ratios.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.recipe.recipe import Recipe
from labkit.training.sweeps import sweep
from labkit.training.trainer import initial_network

LEARNING = {"adam": 0.01, "sgd": 0.1}


def recipes(members: int, batch_size: int, steps: int) -> list[Recipe]:
    """Half Adam, half SGD, learning rates over a decade; the 8-8 network on spirals."""
    base = Recipe(task="spiral", hidden=(8, 8), batch_size=batch_size, steps=steps, device="cpu")
    rates = np.geomspace(0.1, 1, max(1, members // 2))
    made = [
        base.replace(optimizer=name, lr=float(lr * rate))
        for rate in rates
        for name, lr in LEARNING.items()
    ]
    return made[:members]


def loop(some: Sequence[Recipe]) -> list[np.ndarray]:
    """Train one after another, as a tutorial would; final weights of each."""
    found = []
    for recipe in some:
        network = initial_network(recipe)
        data = recipe.data()
        make = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.SGD
        optimizer: Any = make(network.parameters(), lr=recipe.lr)
        generator = torch.Generator().manual_seed(recipe.seed + 1)
        step = 0
        while step < recipe.steps:
            order = torch.randperm(len(data.train_inputs), generator=generator)
            for chosen in order.split(recipe.batch_size):
                optimizer.zero_grad()
                outputs = network(data.train_inputs[chosen])
                functional.cross_entropy(outputs, data.train_targets[chosen]).backward()
                optimizer.step()
                step += 1
                if step == recipe.steps:
                    break
        found.append(nn.utils.parameters_to_vector(network.parameters()).detach().numpy())
    return found


def _compare(members: int, batch_size: int, steps: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of the sweep and of the loop, and how many times faster the sweep is."""
    some = recipes(members, batch_size, steps)
    share = max(1, members // 10)  # of the loop: it is the same work again and again
    part = [some[i] for i in np.linspace(0, members - 1, share).astype(int)]

    def ours() -> float:
        began = time.perf_counter()
        sweep(some)
        return time.perf_counter() - began

    def theirs() -> float:
        began = time.perf_counter()
        loop(part)
        return (time.perf_counter() - began) * members / share

    figures = interleaved({"sweep": ours, "loop": theirs}, rounds)
    ratio = median_ratio(figures["loop"], figures["sweep"])
    return float(np.median(figures["sweep"])), float(np.median(figures["loop"])), ratio


def _difference(members: int, batch_size: int) -> float:
    """The largest difference of weights after 100 steps, relative to their norm."""
    some = recipes(members, batch_size, 100)
    histories = sweep(some).histories
    return max(
        float(np.linalg.norm(history.flat() - weights) / np.linalg.norm(weights))
        for history, weights in zip(histories, loop(some), strict=True)
    )


_PEAK = """
import resource
from labkit.recipe.recipe import Recipe
from labkit.training.sweeps import grid, sweep
result = sweep(grid(Recipe(task="digits", hidden=(32,), steps=100), seed=range({members})))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _memory() -> list[float]:
    """MiB that 100, 250 and 400 members add to the peak of a process with one member."""
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", _PEAK.format(members=members)]))
        for members in (1, 100, 250, 400)
    ]
    return [(peak - peaks[0]) / 1024 for peak in peaks[1:]]


def rows() -> list[Row]:
    """Speed for 100 members at two batch sizes and for one; how far weights differ; memory."""
    made = []
    for members, batch, steps, target in (
        (100, 10, 1000, 60),
        (100, 10, 5000, 60),  # as many steps as the spiral of notebook 06 takes
        (100, 100, 500, 25),
        (1, 10, 1000, 1),
    ):
        ours, theirs, ratio = _compare(members, batch, steps, rounds=3 if steps > 1000 else 5)
        made.append(
            Row(
                f"a plain loop / a sweep: {members} x 8-8 MLP, batch {batch}, {steps} steps",
                f"{ours:.2f} s",
                f"{theirs:.2f} s",
                ratio,
                f"at least {target}",
                ratio >= target,
            )
        )
    difference = _difference(100, 10)
    made.append(
        Row(
            "largest difference of weights after 100 steps, relative",
            f"{difference:.1e}",
            "0",
            None,
            "at most 1e-5",
            difference <= 1e-5,
        )
    )
    at_100, at_250, at_400 = _memory()
    growth = (at_400 - at_250) / (at_250 - at_100)
    made.append(
        Row(
            "peak memory added by 400 / by 250 digits members; growth per member",
            f"{at_400:.0f} MiB",
            f"{at_250:.0f} MiB",
            growth,
            "1 (0.8 to 1.2)",
            0.8 <= growth <= 1.2,
        )
    )
    return made
