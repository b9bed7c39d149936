"""What recording costs: a digits MLP, every step recorded, against a bare PyTorch loop.

Method: the same recipe (64 inputs, one hidden layer of 32, batch 32, Adam, 800 steps) is
trained on one thread by (a) a plain PyTorch loop with nothing in it, (b) `labkit.training.trainer`
with a History, until every statistic and snapshot of every step is there, and (c) the
plain loop with TensorBoard's `add_histogram` for every weight and every gradient at every
step. Interleaved rounds; overheads are taken over (a) of the same round. Quantiles, which
History computes when they are read, are read for a plot of 256 steps of every tensor.
"""

from __future__ import annotations

import statistics
import tempfile
import time

import torch
from torch.nn import functional

from benchmarks.measure import Row, interleaved, median_ratio
from labkit.core.threads import one_thread
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit, initial_network

STEPS = 800
RECIPE = Recipe(
    task="digits", hidden=(32,), activation="relu", optimizer="adam", lr=0.01, steps=STEPS
)


def bare(writer: object = None) -> float:
    """Seconds of a plain loop; with a TensorBoard writer, histograms at every step."""
    data, network = RECIPE.data(), initial_network(RECIPE)
    optimizer = torch.optim.Adam(network.parameters(), lr=RECIPE.lr)
    generator = torch.Generator().manual_seed(RECIPE.seed + 1)
    named = list(network.named_parameters())
    step = 0
    with one_thread():
        began = time.perf_counter()
        while step < STEPS:
            order = torch.randperm(len(data.train_inputs), generator=generator)
            for batch in order.split(RECIPE.batch_size):
                optimizer.zero_grad()
                loss = functional.cross_entropy(
                    network(data.train_inputs[batch]), data.train_targets[batch]
                )
                loss.backward()
                optimizer.step()
                loss.item()
                if writer is not None:
                    for name, tensor in named:
                        writer.add_histogram(name, tensor, step)  # type: ignore[attr-defined]
                        writer.add_histogram(f"{name}.grad", tensor.grad, step)  # type: ignore[attr-defined]
                step += 1
                if step == STEPS:
                    break
        return time.perf_counter() - began


def recorded() -> float:
    """Seconds of `labkit.training.trainer` with everything recorded and every statistic ready."""
    began = time.perf_counter()
    history = fit(RECIPE)
    for tensor in history.layout.names:
        history.statistic("std", tensor)
        history.quantiles(tensor)
    return time.perf_counter() - began


def tensorboard() -> float:
    """Seconds of the plain loop with TensorBoard histograms of weights and gradients."""
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        try:
            return bare(writer)
        finally:
            writer.close()


def rows() -> list[Row]:
    """Both ratios."""
    quick = interleaved({"bare": bare, "recorded": recorded}, rounds=15)
    ratio = median_ratio(quick["recorded"], quick["bare"])
    slow = interleaved({"bare": bare, "tensorboard": tensorboard}, rounds=3)
    each = {name: 1e6 * statistics.median(times) / STEPS for name, times in quick.items()}
    board = 1e6 * statistics.median(b - a for a, b in zip(*slow.values(), strict=True)) / STEPS
    added = statistics.median(b - a for a, b in zip(quick["bare"], quick["recorded"], strict=True))
    # Within the noise recording may seem free; a hundredth of a step is the least we claim.
    added = max(1e6 * added / STEPS, 0.01 * each["bare"])
    factor = board / added
    return [
        Row(
            "a digits step, everything recorded / bare PyTorch loop",
            f"{each['recorded']:.0f} µs",
            f"{each['bare']:.0f} µs",
            ratio,
            "at most 1.10",
            ratio <= 1.10,
        ),
        Row(
            "overhead of TensorBoard add_histogram / of recording",
            f"{added:+.0f} µs",
            f"{board:+.0f} µs",
            factor,
            "at least 10",
            factor >= 10,
        ),
    ]
