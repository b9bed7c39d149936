"""A tiny detector of YOLO26's kind, and a tiny data set, for tests that really train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit.core.ultralytics import silent, ultralytics
from labkit.vision.detector import open_detector
from labkit.vision.finetuning import FineTune
from labkit.vision.synthetic.drawn import Drawn, export
from labkit.weights.save import save

OLD = ("disc", "square", "bar")
NEW = ("square", "cross")


def draw(generator: np.random.Generator, size: int, kinds: int) -> Drawn:
    """Bright boxes on noise."""
    image = generator.integers(0, 90, (size, size, 3), np.uint8)
    boxes, classes = [], []
    for _ in range(generator.integers(1, 4)):
        w, h = generator.integers(size // 4, size // 2, 2)
        left, top = generator.integers(0, size - w), generator.integers(0, size - h)
        kind = int(generator.integers(kinds))
        image[top : top + h, left : left + w] = [100, 180, 250][kind]
        boxes.append((left, top, left + w, top + h))
        classes.append(kind)
    return Drawn(image, np.array(boxes, np.float32), np.array(classes, np.int64))


def data(folder: Path, names: tuple[str, ...] = NEW, train: int = 10, val: int = 4) -> Path:
    """The data.yaml of a drawn set."""

    def one(generator: np.random.Generator, size: int) -> Drawn:
        return draw(generator, size, len(names))

    return export(one, names, folder, {"train": train, "val": val}, 64)


def weights(
    path: Path, names: tuple[str, ...] = OLD, seed: int = 0, architecture: str = "yolo26n"
) -> Path:
    """A safetensors file of an untrained network, an eighth as wide as YOLO26's widest."""
    ultralytics()
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    described: dict[str, Any] = yaml_model_load(f"{architecture}.yaml")
    described |= {"scales": {"n": [0.34, 0.125, 256]}, "scale": "n"}
    with silent(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DetectionModel(described, nc=len(names), verbose=False)
    described = {key: value for key, value in network.yaml.items() if key != "yaml_file"}
    return save(
        path,
        network.state_dict(),
        architecture=architecture,
        yaml=described,
        task="detect",
        names={str(k): name for k, name in enumerate(names)},
    )


def measured(path: Path) -> Path:
    """The same untrained weights, BatchNorm's statistics measured: signals reach every layer."""
    detector = open_detector(weights(path))
    network = detector.model.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average
            module.reset_running_stats()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network(torch.rand(8, 3, 64, 64))
    own = detector.weights
    return save(
        path,
        network.state_dict(),
        architecture=own.architecture,
        yaml=own.yaml,
        task="detect",
        names={str(k): name for k, name in own.names.items()},
    )


def spec(start: Path, data_yaml: Path, **changes: Any) -> FineTune:
    """A run of a second or two."""
    plain: dict[str, Any] = {
        "weights": str(start),
        "data": str(data_yaml),
        "epochs": 2,
        "batch": 4,
        "image_size": 64,
        "record_every": 2,
        "warmup": 0.0,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
    }
    return FineTune(**{**plain, **changes})
