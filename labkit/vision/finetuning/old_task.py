"""Forgetting: how well fine-tuned weights still find the classes they knew before.

A fine-tuned detector has new class rows in its head and none for the old classes, so it
cannot be evaluated on them directly. The old rows are kept and put back for the measurement:
everything that was fine-tuned, with the rows of the old classes at the end. That is how Li &
Hoiem (2016, "Learning without Forgetting", section 3) measure what plain fine-tuning does to
an old task: shared parameters as they are now, the old task's own ones as they were. Before
the first step it gives exactly the old detector's mAP.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.core.errors import LabError
from labkit.vision.detector import Detector
from labkit.vision.finetuning.transfer import class_rows

if TYPE_CHECKING:
    from labkit.vision.data import DataSet


class OldTask:
    """Measures a network that is being fine-tuned on the classes it knew before.

    Args:
        old: the detector that fine-tuning starts from.
        data: the old data; its validation split is used, which the old detector was not
            trained on.
        image_size: pixels.

    Raises:
        LabError: the data has other classes than the old detector.
    """

    def __init__(self, old: Detector, data: DataSet, image_size: int) -> None:
        known, labelled = list(old.names.values()), list(data.names.values())
        if known != labelled:
            raise LabError(
                f"remember={data.name!r} does not fit: {old.name} knows {', '.join(known[:6])}, "
                f"the data set has {', '.join(labelled[:6])}. Give the data of the old classes"
            )
        self.data, self.image_size = data, image_size
        self._network: Any = deepcopy(old.model)
        self._old = old
        rows = set(class_rows(self._network))
        self._shared = [name for name in self._network.state_dict() if name not in rows]

    def map50(self, network: nn.Module) -> float:
        """mAP50 on the old data of `network` with the old class rows."""
        from labkit.vision.evaluation import evaluate

        graft(self._network, network.state_dict(), self._shared)
        detector = Detector(
            self._old.weights, self._network, "detect", self._old.names, self.image_size
        )
        return evaluate(detector, self.data, imgsz=self.image_size).map50


@torch.no_grad()
def graft(old: nn.Module, new: Mapping[str, Tensor], shared: list[str]) -> None:
    """Put the tensors `shared` of a fine-tuned network into the old one.

    Raises:
        LabError: they are not of one architecture.
    """
    tensors = old.state_dict()
    for name in shared:
        if name not in new or new[name].shape != tensors[name].shape:
            raise LabError(
                f"the old class rows cannot be put back: {name} is not what it was in the old "
                "network (from-scratch runs and other architectures have no old classes)"
            )
        tensors[name].copy_(new[name])
