"""A batch that was never run: the files of many runs, made up but realistic, by a seed."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from labkit.batch.folder import Folder
from labkit.batch.job import Job

RATES = {"sgd": 0.3, "momentum": 1.0, "adam": 3.0, "rmsprop": 2.5}
LRS = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
START = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
STATUS = {
    "labkit": "0.4.0",
    "driver": {"host": "laptop", "pid": 4711, "token": "gone", "claim": 1},
    "host": "laptop",
    "pid": 5000,
}
LINES = [
    "Cell In[7], line 3",
    "      1 recipe = labkit.Recipe(optimizer=optimizer, lr=lr)",
    "      2 history = labkit.fit(recipe)",
    "----> 3 assert history.summary()['val_loss'] < 100, 'the loss exploded'",
    "",
    "AssertionError: the loss exploded",
]


def batch(folder: Path, runs: int, points: int = 200) -> Path:
    """Keep `runs` runs of optimizer x lr x seed: some diverge, some fail, a few time out."""
    random = np.random.default_rng(0)
    jobs = []
    grid = itertools.product(range(runs), LRS, RATES)
    for number, (seed, lr, optimizer) in zip(range(runs), grid, strict=False):
        parameters = {"optimizer": optimizer, "lr": lr, "seed": seed, "steps": 500}
        name = "-".join(f"{key}={value}" for key, value in list(parameters.items())[:3])
        parameters["interactive"] = False
        own = f"04_optimizers-{name}-{number:010x}"
        jobs.append(Job(own, "04_optimizers", NOTEBOOK, parameters))
        files = perform(parameters, number, random, points)
        write(folder / own, {"id": own, "notebook": "04_optimizers"}, files)
    Folder(folder).ask(jobs)
    return folder


def write(place: Path, who: dict[str, Any], files: dict[str, Any]) -> None:
    """Write a run's files, and its page."""
    place.mkdir(parents=True)
    status = {**STATUS, **who, **files.pop("status.json")}
    for name, content in {"status.json": status, **files}.items():
        (place / name).write_text(json.dumps(content))
    (place / f"{who['notebook']}.html").write_text("<!doctype html><title>a run</title>")


def perform(
    parameters: dict[str, Any], number: int, random: np.random.Generator, points: int
) -> dict[str, Any]:
    """What a run leaves, by the names of the files."""
    speed = RATES[parameters["optimizer"]] * parameters["lr"]
    steps = np.linspace(0, parameters["steps"], points).round()
    noise = 0.02 * random.normal(size=points).cumsum() / np.sqrt(points)
    loss = 0.08 + 0.03 / (1 + 30 * speed) + 2.2 * np.exp(-speed * steps / 3) + abs(noise)
    diverged = speed > 0.25 and random.random() < 0.6
    if diverged:
        end = int(random.integers(points // 8, points // 2))
        loss[:end] = 2.3 * np.exp(np.linspace(0, random.uniform(2, 5), end))
        loss[end:] = np.nan
    kind = random.random()
    state, failure = "done", None
    if diverged and kind < 0.3:
        reason = "cell [7]: AssertionError: the loss exploded"
        state = "failed"
        failure = {"reason": reason, "cell": 7, "name": "AssertionError", "lines": LINES}
    elif kind > 0.99:
        state, failure = "timed out", {"reason": "cell [6] ran for more than 60 s", "lines": []}
    seconds = round(float(random.gamma(20, 0.1)), 3)
    began = START + timedelta(seconds=number * 0.7)
    last = float(loss[-1])
    y = [None if value != value else float(f"{value:.6g}") for value in loss]
    return {
        "status.json": {
            "state": state,
            "parameters": parameters,
            "attempt": 2 if kind < 0.01 else 1,
            "started": began.isoformat(),
            "ended": (began + timedelta(seconds=seconds)).isoformat(),
            "seconds": seconds,
            "failure": failure,
        },
        "results.json": {
            "val_accuracy": 0.1 if diverged else round(float(1 - 0.35 * last**0.5), 4),
            "val_loss": "nan" if diverged else last,
            "diverged": bool(diverged),
            "history": f"500 steps, loss {last:.4g}",
        },
        "curves.json": {
            "history.train_loss": {
                "x": steps.tolist(),
                "y": [None if value is None else float(f"{value * 0.9:.6g}") for value in y],
            },
            "history.val_loss": {"x": steps.tolist(), "y": y},
        },
    }
