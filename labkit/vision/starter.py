"""Publishing the starter weights: the file that ships with labkit, and its card."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from labkit.core.files import write_atomically
from labkit.vision.data import open_data
from labkit.vision.detector import open_detector
from labkit.vision.evaluation import Metrics, evaluate
from labkit.vision.pretraining import Plan, Pretraining, plan_of
from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import export
from labkit.weights import load, save
from labkit.weights.find import STARTER_CARD, STARTER_FILE

HELD_OUT = 1000  # scenes, of a split that no training has seen
IMGSZ = 320


def publish(state: Mapping[str, Any], folder: Path) -> Path:
    """Write `starter.safetensors` (FP16) and its card from a pre-training's state.

    Args:
        state: from `labkit.vision.pretraining.Pretraining.state`.
        folder: of both files.
    """
    plan = plan_of(state)
    stages = [stage for cycle in plan.cycles for stage in cycle.stages]
    training = Pretraining(plan)
    training.restore(state)
    average = training.average.ema
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in average.state_dict().items()
    }
    images = sum(stage.images for stage in stages)
    path = save(
        folder / STARTER_FILE.name,
        tensors,
        architecture=plan.architecture,
        yaml=average.yaml,
        task="detect",
        names=dict(enumerate(scenes.NAMES)),
        train_args={"imgsz": IMGSZ, "data": "scenes", "seed": plan.seed, "images": images},
        licence="AGPL-3.0-or-later",
    )
    detector = open_detector(path)
    with tempfile.TemporaryDirectory() as drawn:
        counts = {"train": 1, "val": HELD_OUT}  # a data set must have some of each
        data = open_data(
            export(scenes.draw, scenes.NAMES, Path(drawn) / "scenes", counts, IMGSZ, plan.seed)
        )
        heads = {nms: evaluate(detector, data, imgsz=IMGSZ, nms=nms) for nms in (False, True)}
    write_atomically(folder / STARTER_CARD.name, _card(path, plan, heads))
    return path


def _card(path: Path, plan: Plan, heads: Mapping[bool, Metrics]) -> str:
    weights = load(path)
    made_by = f"torch {torch.__version__.partition('+')[0]}"
    cycles = [
        " then ".join(f"{stage.images:,} at {stage.size} px" for stage in cycle.stages)
        + f", learning rate up to {cycle.lr:g}"
        for cycle in plan.cycles
    ]
    rows = [
        "| head | mAP50 | mAP50-95 | precision | recall |",
        "|---|---|---|---|---|",
        *(
            f"| {'one-to-many, with non-maximum suppression' if nms else 'end-to-end'} | "
            + " | ".join(f"{value:.3f}" for value in found.row().values())
            + " |"
            for nms, found in heads.items()
        ),
    ]
    classes = [
        "| class | labelled boxes | mAP50 | mAP50-95 |",
        "|---|---|---|---|",
        *(
            f"| {name} | {one['boxes']:.0f} | {one['mAP50']:.3f} | {one['mAP50-95']:.3f} |"
            for name, one in heads[False].per_class.items()
        ),
    ]
    return "\n".join(
        [
            "# The starter weights",
            "",
            f"A {plan.architecture.replace('yolo', 'YOLO')} that knows {len(weights.names)} "
            "shapes and textures, trained from nothing by this project on scenes that it draws "
            "itself (`labkit.vision.synthetic.scenes`). It stands in where there is no network, "
            "and for lessons whose answer must be known.",
            "",
            f"* **Command:** `python -m labkit.vision.pretrain FOLDER` ({made_by})",
            f"* **Images:** {'; then '.join(cycles)}. Each is drawn once, seed {plan.seed}",
            "* **Training:** AdamW, the learning rate rising and falling along a cosine in each "
            f"of {len(cycles)} cycles, weight decay {plan.weight_decay:g}; an average of the "
            f"weights is kept (decay {plan.ema:g})",
            f"* **File:** `{path.name}`, FP16, {weights.size:,} bytes, {weights.count:,} values",
            f"* **SHA-256:** `{weights.sha256}`",
            "* **Licence:** AGPL-3.0-or-later, as labkit and Ultralytics. The scenes show pieces "
            "of the two photographs that come with scikit-learn.",
            "",
            f"## On {heads[False].images:,} held-out scenes at {IMGSZ} px",
            "",
            *rows,
            "",
            "The end-to-end head, class by class:",
            "",
            *classes,
            "",
            "## What it is not",
            "",
            "It has never seen a photographed object with its label. On photographs it reports "
            "what looks like its shapes, and it is where a fine-tuning starts from.",
            "",
        ]
    )
