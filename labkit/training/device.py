"""The device that a recipe trains on."""

from __future__ import annotations

import torch

from labkit.core.errors import RecipeError


def pick_device(wanted: str) -> torch.device:
    """The device a recipe asks for; `auto` is a GPU when there is one.

    Raises:
        RecipeError: `cuda` where there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RecipeError("device='cuda' is not there: this machine has no CUDA GPU; use 'auto'")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)
