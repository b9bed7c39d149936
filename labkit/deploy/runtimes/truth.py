"""Ground truth of a search: the labels of the validation images, and mAP against them.

A worker that controls accuracy while it quantizes reads them from a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.vision.evaluation import Metrics, Samples, match, summarize

MIN_SCORE = 0.001  # boxes with a lower score do not count for mAP


@dataclass(frozen=True)
class Truth:
    """The labels of the validation images.

    Attributes:
        classes: for each image, (n,) float32.
        boxes: for each image, (n, 4) float32: left, top, right, bottom in pixels.
        names: of the classes, by number.
    """

    classes: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    names: dict[int, str]

    @classmethod
    def of(cls, images: Samples, names: dict[int, str]) -> Truth:
        """The labels of samples."""
        return cls(images.classes, images.boxes, dict(names))

    @classmethod
    def read(cls, file: Path) -> Truth:
        """From a file that `write` has left, in another process."""
        plain = json.loads(file.read_text())
        return cls(
            tuple(torch.tensor(one, dtype=torch.float32) for one in plain["classes"]),
            tuple(torch.tensor(one, dtype=torch.float32).reshape(-1, 4) for one in plain["boxes"]),
            {int(k): name for k, name in plain["names"].items()},
        )

    def write(self, file: Path) -> None:
        """Write a JSON file for another process."""
        plain = {
            "classes": [one.tolist() for one in self.classes],
            "boxes": [one.tolist() for one in self.boxes],
            "names": self.names,
        }
        file.write_text(json.dumps(plain))

    def metrics(self, found: Sequence[np.ndarray]) -> Metrics:
        """mAP and the rest, as `labkit.vision.evaluate` computes them.

        Args:
            found: for each image, rows (n, 6) of left, top, right, bottom, score, class.
        """
        judged = []
        for k, every in enumerate(found):
            rows = torch.from_numpy(np.ascontiguousarray(every, np.float32))
            rows = rows[rows[:, 4] > MIN_SCORE]
            rows = rows[rows[:, 4].argsort(descending=True, stable=True)]
            judged.append((match(rows, self.classes[k], self.boxes[k]), rows[:, 4], rows[:, 5]))
        correct, scores, kinds = (torch.cat(part).numpy() for part in zip(*judged, strict=True))
        wanted = torch.cat(self.classes).numpy()
        return Metrics(**summarize(correct, scores, kinds, wanted, self.names), images=len(found))

    def map_of(self, find: Callable[[int], np.ndarray]) -> float:
        """mAP50-95 of a function from an image's number to its rows."""
        return self.metrics([find(k) for k in range(len(self.classes))]).map
