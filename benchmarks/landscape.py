"""Loss surfaces: 51 x 51 networks evaluated in stacked blocks, against loops over networks.

Method: a digits MLP (64 inputs, one hidden layer of 32, ReLU) and all 1,258 training
samples; the plane of two filter-normalized random directions around its initial weights.
(a) `labkit.landscape.around`, with torch's default threads, directions and checks included;
(b) a plain loop: for each grid point the weights are put into the network, and one forward
pass over all samples gives the loss; on one thread, since two were never faster here;
(c) the same loop with the samples in mini-batches of 128 from a `DataLoader`, as in the
code that Li et al. (2018) published; it is so slow that one row of the grid is timed and
taken 51 times. Interleaved rounds; all losses are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.analysis.landscape import around, filter_normalized
from labkit.core.threads import one_thread
from labkit.recipe.recipe import Recipe
from labkit.training.layout import layout_of
from labkit.training.trainer import initial_network

RESOLUTION = 51
RECIPE = Recipe(task="digits", hidden=(32,), activation="relu", device="cpu")
GRID = np.linspace(-1, 1, RESOLUTION).tolist()

Judge = Callable[[nn.Module], float]


def _flat() -> Tensor:
    return nn.utils.parameters_to_vector(initial_network(RECIPE).parameters()).detach()


def _loop(judge: Judge, rows: list[float]) -> tuple[float, np.ndarray]:
    """Seconds and losses of a loop over the networks of some rows of the grid."""
    network, origin = initial_network(RECIPE), _flat()
    generator = torch.Generator().manual_seed(0)
    layout = layout_of(network)
    across, up = (filter_normalized(origin, layout, generator) for _ in range(2))
    parameters = list(network.parameters())
    losses = []
    with one_thread(), torch.no_grad():
        began = time.perf_counter()
        for b in rows:
            for a in GRID:
                nn.utils.vector_to_parameters(origin + a * across + b * up, parameters)
                losses.append(judge(network))
        elapsed = time.perf_counter() - began
    return elapsed, np.array(losses).reshape(len(rows), RESOLUTION)


def _whole(network: nn.Module) -> float:
    data = RECIPE.data()
    return functional.cross_entropy(network(data.train_inputs), data.train_targets).item()


def _batches(network: nn.Module) -> float:
    data = RECIPE.data()
    loader = DataLoader(TensorDataset(data.train_inputs, data.train_targets), batch_size=128)
    total = 0.0
    for inputs, targets in loader:
        total += functional.cross_entropy(network(inputs), targets, reduction="sum").item()
    return total / len(data.train_inputs)


def rows() -> list[Row]:
    """The time, both ratios and the largest difference of a loss."""
    found: dict[str, np.ndarray] = {}

    def stacked() -> float:
        began = time.perf_counter()
        found["stacked"] = around(RECIPE, _flat().numpy(), seed=0, resolution=RESOLUTION).loss
        return time.perf_counter() - began

    def loop() -> float:
        elapsed, found["loop"] = _loop(_whole, GRID)
        return elapsed

    def batches() -> float:
        elapsed, found["batches"] = _loop(_batches, GRID[:1])
        return RESOLUTION * elapsed

    quick = interleaved({"stacked": stacked, "loop": loop}, rounds=7)
    slow = interleaved({"stacked": stacked, "batches": batches}, rounds=3)
    seconds = statistics.median(quick["stacked"])
    ratio = median_ratio(quick["loop"], quick["stacked"])
    factor = median_ratio(slow["batches"], slow["stacked"])
    apart = max(
        float(np.abs(found["stacked"] / found["loop"] - 1).max()),
        float(np.abs(found["stacked"][:1] / found["batches"] - 1).max()),
    )
    what = f"{RESOLUTION} x {RESOLUTION} losses of the digits MLP, 1,258 samples each"
    return [
        Row(
            what,
            f"{seconds:.2f} s",
            "",
            None,
            "at most 3 s, within 1e-5 of the loop",
            seconds <= 3 and apart < 1e-5,
        ),
        Row(
            f"a loop over networks, all samples at once / stacked (apart by {apart:.0e})",
            f"{seconds:.2f} s",
            f"{statistics.median(quick['loop']):.2f} s",
            ratio,
            "at least 20",
            ratio >= 20,
        ),
        Row(
            "a loop over networks, a DataLoader's batches of 128 / stacked",
            f"{statistics.median(slow['stacked']):.2f} s",
            f"{statistics.median(slow['batches']):.1f} s",
            factor,
            "at least 20",
            factor >= 20,
        ),
    ]
