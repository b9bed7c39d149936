"""How right boxes are: mAP against labels, agreement with another file's boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.vision.evaluation import Metrics, Samples, match, summarize

CONFIDENCE = 0.25  # boxes that a user would see
LEAST = 0.001  # boxes that mAP counts
SAME = 0.75  # two boxes are the same that overlap by so much (IoU)


@dataclass(frozen=True)
class Truth:
    """The labels of the validation images.

    Attributes:
        classes: of each image, (n,) float32.
        boxes: (n, 4) float32 each: left, top, right, bottom in pixels.
        names: of the classes, by number.
    """

    classes: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    names: dict[int, str]

    @classmethod
    def of(cls, known: Samples, names: dict[int, str]) -> Truth:
        """The labels of samples."""
        return cls(known.classes, known.boxes, dict(names))

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
        """For another process."""
        plain = {
            "classes": [one.tolist() for one in self.classes],
            "boxes": [one.tolist() for one in self.boxes],
            "names": self.names,
        }
        file.write_text(json.dumps(plain))

    def metrics(self, found: Sequence[np.ndarray]) -> Metrics:
        """mAP and the rest, as `labkit.vision.evaluate` counts them.

        Args:
            found: of each image, rows (n, 6) of left, top, right, bottom, score, class.
        """
        judged = []
        for k, every in enumerate(found):
            rows = torch.from_numpy(np.ascontiguousarray(every, np.float32))
            rows = rows[rows[:, 4] > LEAST]
            rows = rows[rows[:, 4].argsort(descending=True, stable=True)]
            judged.append((match(rows, self.classes[k], self.boxes[k]), rows[:, 4], rows[:, 5]))
        right, scores, kinds = (torch.cat(part).numpy() for part in zip(*judged, strict=True))
        wanted = torch.cat(self.classes).numpy()
        return Metrics(**summarize(right, scores, kinds, wanted, self.names), images=len(found))

    def map_of(self, find: Callable[[int], np.ndarray]) -> float:
        """mAP50-95 of something that gives the rows of an image by its number."""
        return self.metrics([find(k) for k in range(len(self.classes))]).map


def agreement(
    found: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    *,
    confidence: float = CONFIDENCE,
    iou: float = SAME,
) -> float:
    """The share of boxes that two detectors have in common, in 0 to 1.

    Twice the pairs over the boxes of both (the F1 score, Dice 1945), where a pair has the same
    class and overlaps by `iou` or more; each box is in one pair, best overlaps first. Two
    detectors that find nothing agree.

    Args:
        found, reference: of each image, rows (n, 6).
        confidence: only boxes with a score of at least this count.
        iou: intersection over union from which two boxes are the same.
    """
    pairs = boxes = 0
    for mine, theirs in zip(found, reference, strict=True):
        a, b = (rows[rows[:, 4] >= confidence] for rows in (mine, theirs))
        boxes += len(a) + len(b)
        pairs += _pairs(a, b, iou)
    return 2 * pairs / boxes if boxes else 1.0


def _pairs(a: np.ndarray, b: np.ndarray, iou: float) -> int:
    from torchvision.ops import box_iou

    if not len(a) or not len(b):
        return 0
    overlap = box_iou(torch.from_numpy(a[:, :4].copy()), torch.from_numpy(b[:, :4].copy())).numpy()
    overlap[a[:, None, 5] != b[None, :, 5]] = 0
    count = 0
    while overlap.size and overlap.max() >= iou:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[i, :] = overlap[:, j] = 0
        count += 1
    return count
