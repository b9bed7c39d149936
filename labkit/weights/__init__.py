"""Weights as they are, of any network."""

from labkit.weights.anatomy import TensorInfo, anatomy

__all__ = ["TensorInfo", "anatomy"]
