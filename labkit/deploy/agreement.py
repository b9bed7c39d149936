"""Agreement: the share of boxes that two detectors have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

CONFIDENCE = 0.25  # boxes that a user would see
SAME_BOX = 0.75  # intersection over union from which two boxes count as the same


def agreement(
    found: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    *,
    confidence: float = CONFIDENCE,
    iou: float = SAME_BOX,
) -> float:
    """The share of boxes that two detectors have in common, in 0 to 1.

    Twice the number of pairs over the boxes of both (the F1 score, Dice 1945). A pair has the
    same class and overlaps by `iou` or more; each box is in one pair, best overlaps first. Two
    detectors that find nothing agree.

    Args:
        found, reference: for each image, rows (n, 6) of left, top, right, bottom, score, class.
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
