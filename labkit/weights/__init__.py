"""Weights as they are, of any network and in any file.

These names are imported at once, unlike `labkit`'s own: some functions have the names of
their modules, and a module that is imported later would take the function's place.
"""

from labkit.weights.anatomy import TensorInfo, anatomy, effective_rank
from labkit.weights.compare import Change, Comparison, compare
from labkit.weights.file import Weights
from labkit.weights.load import load
from labkit.weights.perturb import DAMAGES, Damage, Perturbation, perturb, perturbed
from labkit.weights.save import save

__all__ = [
    "DAMAGES",
    "Change",
    "Comparison",
    "Damage",
    "Perturbation",
    "TensorInfo",
    "Weights",
    "anatomy",
    "compare",
    "effective_rank",
    "load",
    "perturb",
    "perturbed",
    "save",
]
