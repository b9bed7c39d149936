"""Many small networks trained at once, as tensors with a leading member axis."""

from labkit.training.ensemble.training import Ensemble, kind

__all__ = ["Ensemble", "kind"]
