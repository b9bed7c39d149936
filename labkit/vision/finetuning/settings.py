"""A FineTune as Ultralytics' training arguments, and the settings read back from its trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from labkit.vision.finetuning.records import Used
from labkit.vision.finetuning.spec import FineTune


def settings(spec: FineTune, folder: Path) -> dict[str, Any]:
    """`spec` as Ultralytics' training arguments (see its "Train settings")."""
    plain = {} if spec.augmentation else dict.fromkeys(
        ("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective",
         "flipud", "fliplr", "mixup", "cutmix", "copy_paste", "erasing"), 0.0
    )  # fmt: skip
    return {
        "task": "detect",
        "mode": "train",
        "model": "yolo26n.yaml",  # a name it knows; the network itself is handed in
        "data": "",
        "save_dir": str(folder),
        "epochs": spec.epochs,
        "patience": 0,
        "imgsz": spec.image_size,
        "batch": spec.batch,
        "nbs": spec.batch,  # one update a batch: what is called a step is one
        "freeze": list(spec.frozen),
        "optimizer": spec.optimizer,
        "lr0": spec.lr,
        "lrf": spec.final_lr,
        "momentum": spec.momentum,
        "weight_decay": spec.weight_decay,
        "cos_lr": spec.schedule == "cosine",
        "warmup_epochs": spec.warmup,
        "warmup_bias_lr": 0.0,
        "warmup_momentum": spec.momentum,
        "seed": spec.seed,
        "device": pick(spec.device),
        "amp": False,  # TrainedDetector has its own
        "quantize": 8 if spec.qat else None,
        "plots": False,
        "save": False,
        "val": True,
        "verbose": False,
        "mosaic": spec.mosaic,
        "close_mosaic": 0 if spec.mosaic == 0 else max(1, spec.epochs // 4),
        **plain,
    }


def pick(device: str) -> str:
    """`cpu`, or `0` for the GPU, as Ultralytics names them."""
    from labkit.training.device import pick_device

    return "cpu" if pick_device(device).type == "cpu" else "0"


def used(trainer: Any, spec: FineTune) -> Used:
    """The settings in force, read from the optimizer and the loader, not from the spec.

    Args:
        trainer: a `FineTuner` that is set up.
        spec: the settings that were requested.
    """
    group = trainer.weight_group()
    betas = group.get("betas")
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    schedule: str = spec.schedule
    if schedule != "constant":
        schedule += f" to {trainer.lf(trainer.epochs):g} of lr" if spec.final_lr else " to 0"
    if spec.warmup:
        schedule += f", after {trainer._get_warmup_iterations(len(trainer.train_loader))} steps up"
    return Used(
        optimizer=type(trainer.optimizer).__name__,
        lr=float(group["initial_lr"]),
        momentum=betas[0] if betas else group.get("momentum"),
        betas=tuple(betas) if betas else None,
        weight_decay=float(group["weight_decay"]),
        schedule=schedule,
        batch=trainer.train_loader.batch_size or spec.batch,
        steps=len(trainer.train_loader) * trainer.epochs,
        images=len(trainer.train_loader.dataset),
        parameters=trained,
        frozen_parameters=sum(p.numel() for p in trainer.model.parameters()) - trained,
        device=str(trainer.device),
        precision=str(trainer.network.precision).removeprefix("torch."),
        threads=torch.get_num_threads(),
        notes=tuple(spec.notes()),
    )
