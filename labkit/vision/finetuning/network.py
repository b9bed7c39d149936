"""The network in training: Ultralytics' detector, in the precision that is fast here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from ultralytics.nn.tasks import DetectionModel  # after `core.ultralytics.ultralytics()`

from labkit.core.errors import RecipeError


class TrainedDetector(DetectionModel):  # type: ignore[misc]
    """A `DetectionModel` that runs its layers in `precision` and its loss in float32.

    Box coordinates in bfloat16 would be off by a pixel at 300: their matching with the
    labels and their overlaps are computed from the outputs in float32.
    """

    precision: torch.dtype = torch.float32

    def loss(self, batch: dict[str, Tensor], preds: Any = None) -> Any:
        """Ultralytics' loss and its parts."""
        if getattr(self, "criterion", None) is None:
            self.criterion = self.init_criterion()
        if preds is None:
            mixed = self.precision is not torch.float32
            with torch.autocast(batch["img"].device.type, self.precision, enabled=mixed):
                preds = self.forward(batch["img"])
        return self.criterion(tree_map_only(Tensor, Tensor.float, preds), batch)


def pick_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype that a `FineTune.precision` stands for.

    `auto` is bfloat16 where the processor computes with it: it was measured faster there,
    and slower where it is emulated.

    Raises:
        RecipeError: bfloat16 on a GPU without it.
    """
    if wanted == "float32":
        return torch.float32
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted == "bfloat16" and not native:
            raise RecipeError(
                "precision='bfloat16' is not there: this GPU has no bfloat16; use 'auto'"
            )
    else:
        able = torch.cpu.get_capabilities()
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if native or wanted == "bfloat16" else torch.float32
