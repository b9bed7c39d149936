"""The starter weights: a YOLO26n trained from nothing on scenes, none of them seen twice.

    python -m labkit.vision.pretrain FOLDER

Half-sized images first, since most can be learned from them at a quarter of the cost, then
the size at which it will be used. It can be stopped at any moment and continues from its last
checkpoint; the same seed sees the same scenes in the same order. At the end FOLDER has the
weights as FP16 safetensors, and a card that says what they reach on held-out scenes.
"""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from labkit.core.errors import LabError
from labkit.core.files import write_atomically
from labkit.vision.pretraining import Plan, Pretraining, Scenes
from labkit.vision.starter import publish


def pretrain(
    plan: Plan, folder: Path, *, device: str = "cpu", workers: int = 1, every: int = 200
) -> Path:
    """Train, and keep a checkpoint and a log in `folder`; returns the checkpoint.

    Args:
        plan: what to do.
        folder: of the checkpoint; if it holds one, training continues from that.
        device: "cpu" or "cuda".
        workers: processes that draw.
        every: steps between checkpoints.

    Raises:
        LabError: the folder's checkpoint is of another plan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / "checkpoint.pt", folder / "log.jsonl"
    training = Pretraining(plan, device)
    if checkpoint.exists():
        training.restore(torch.load(checkpoint, map_location=device, weights_only=True))
    steps = list(plan.steps())
    left = steps[training.step :]
    loader = DataLoader(
        Scenes(left, plan.seed), batch_size=None, num_workers=workers,
        worker_init_fn=_set_up_worker,
    )  # fmt: skip
    seconds, parts = time.perf_counter(), []
    for step, batch in zip(left, loader, strict=True):
        parts.append(training.train_on(batch, step))
        if training.step % every == 0 or training.step == len(steps):
            passed, seconds = time.perf_counter() - seconds, time.perf_counter()
            line = {
                "step": training.step,
                "of": len(steps),
                "images": step.first + step.stage.batch,
                "size": step.stage.size,
                "loss": np.round(np.mean(parts, 0), 4).tolist(),
                "seconds": round(passed, 1),
            }
            parts = []
            _save(training.state(), checkpoint)
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            click.echo(json.dumps(line))
    return checkpoint


def _set_up_worker(_worker: int) -> None:
    """One thread of low priority: scenes are drawn ahead of their use."""
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(15)


def _save(state: dict[str, Any], path: Path) -> None:
    file = io.BytesIO()
    torch.save(state, file)
    write_atomically(path, file.getvalue())


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes that draw.")
def main(folder: Path, device: str, workers: int) -> None:
    """Pre-train the starter weights; the next call continues from FOLDER."""
    try:
        checkpoint = pretrain(Plan(), folder, device=device, workers=workers)
        click.echo(publish(torch.load(checkpoint, map_location="cpu", weights_only=True), folder))
    except LabError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
