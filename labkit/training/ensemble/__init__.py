"""Many small networks trained at once, as tensors with a leading member axis."""

from labkit.training.ensemble.key import ensemble_key
from labkit.training.ensemble.training import Ensemble

__all__ = ["Ensemble", "ensemble_key"]
