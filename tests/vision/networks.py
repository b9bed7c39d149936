"""Small detectors and images for tests: no training, no network connection."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labkit.core.ultralytics import ultralytics
from labkit.vision.data import DataSet, open_data
from labkit.vision.detector import Detector, open_detector
from labkit.vision.synthetic.drawn import Drawn, export
from labkit.weights.load import load

NAMES = ("square", "disc", "bar")


def draw(generator: np.random.Generator, size: int) -> Drawn:
    """Bright rectangles on noise, in images that are not square."""
    high, wide = int(generator.integers(size // 2, size + 1)), size
    if generator.random() < 0.5:
        high, wide = wide, high
    image = generator.integers(0, 90, (high, wide, 3), np.uint8)
    boxes, classes = [], []
    for _ in range(generator.integers(1, 5)):
        w, h = generator.integers(size // 6, size // 2, 2)
        left, top = generator.integers(0, wide - w // 2), generator.integers(0, high - h // 2)
        right, bottom = min(left + w, wide), min(top + h, high)
        kind = int(generator.integers(len(NAMES)))
        image[top:bottom, left:right] = 100 + 60 * kind // 2
        boxes.append((left, top, right, bottom))
        classes.append(kind)
    return Drawn(image, np.array(boxes, np.float32), np.array(classes, np.int64))


def data_set(folder: Path, val: int = 12, size: int = 64) -> DataSet:
    """A drawn data set in YOLO format, opened."""
    yaml = export(draw, NAMES, folder / "drawn", {"train": 2, "val": val}, size)
    return open_data(yaml)


@functools.cache
def _fresh(architecture: str, classes: int, seed: int) -> nn.Module:
    ultralytics()
    from ultralytics.nn import tasks

    from labkit.vision.network import CLASSES

    task = tasks.guess_model_task(f"{architecture}.yaml")
    names = dict(enumerate(NAMES)) if classes == len(NAMES) else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = getattr(tasks, CLASSES[task])(f"{architecture}.yaml", nc=classes, verbose=False)
        # Sure of itself without having learned anything: something is always found.
        for name, parameter in network.named_parameters():
            if "cv3" in name and name.endswith(("2.weight", "2.bias")):
                nn.init.normal_(parameter, 0.0, 1.5)
            if "cv2" in name and name.endswith("2.bias") and len(parameter) == 64:
                parameter.data = -((torch.arange(16) - 1.5) ** 2).repeat(4)  # small boxes
    network.names = names or {k: str(k) for k in range(classes)}
    network.task = task
    return network.eval()


@functools.cache
def detector(architecture: str = "yolo26n", classes: int = len(NAMES), seed: int = 0) -> Detector:
    """An untrained network that reports boxes all the same; whoever changes it mends it."""
    return open_detector(load(_fresh(architecture, classes, seed)))


class Knows(nn.Module):
    """A network that knows what is on each image, and says so with mistakes of every kind."""

    def __init__(self, data: DataSet, imgsz: int, seed: int = 0) -> None:
        super().__init__()
        from labkit.vision.evaluation import samples

        self.names = dict(data.names)
        self.model = nn.Sequential(nn.Identity())
        self.stride = torch.tensor([32.0])
        self.unused = nn.Parameter(torch.zeros(1))
        known = samples(data, imgsz=imgsz)
        generator = torch.Generator().manual_seed(seed)
        (images,) = [torch.cat([images for _, images in known.batches()])]
        self.keys = images.float().mean((1, 2, 3)) / 255
        self.answers = [
            self._answer(boxes, classes, imgsz, generator)
            for boxes, classes in zip(known.boxes, known.classes, strict=True)
        ]

    def _answer(self, boxes: Tensor, classes: Tensor, imgsz: int, generator: torch.Generator):
        def drawn(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        # Each object four times, ever further off, some as another class; and some of nothing.
        right = boxes.repeat(4, 1)
        right = right + (drawn(*right.shape) - 0.5) * imgsz * 0.25 * drawn(len(right), 1) ** 2
        kinds = classes.repeat(4).long()
        wrong = drawn(len(kinds)) < 0.2
        kinds[wrong] = torch.randint(len(self.names), (int(wrong.sum()),), generator=generator)
        corner = drawn(6, 2) * imgsz * 0.7
        false = torch.cat([corner, corner + 5 + drawn(6, 2) * imgsz * 0.3], 1)
        xyxy = torch.cat([right, false])
        kinds = torch.cat([kinds, torch.randint(len(self.names), (6,), generator=generator)])
        scores = drawn(len(xyxy), len(self.names)) * 0.3
        scores[torch.arange(len(kinds)), kinds] = drawn(len(kinds))
        centre, size = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
        return torch.cat([centre, size, scores], 1).T

    def forward(self, images: Tensor, **_: object) -> Tensor:
        out = []
        for image in images:
            nearest = (self.keys - image.mean()).abs().argmin()
            out.append(self.answers[nearest])
        width = max(answer.shape[1] for answer in out)
        padded = [nn.functional.pad(answer, (0, width - answer.shape[1])) for answer in out]
        return torch.stack(padded)
