"""Fewer bits: what they do to the weights of a tensor and of a whole detector.

Names are loaded when they are first used: torch and Ultralytics wait until then.
"""

from importlib import import_module
from typing import Any

import lazy_loader

_own, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Public names of 0.1 that have moved.
_MOVED = {
    "search": "labkit.deploy",
    "Candidate": "labkit.deploy",
    "default_candidates": "labkit.deploy",
    "Choice": "labkit.deploy",
    "Measured": "labkit.deploy",
    "qat_onnx": "labkit.deploy",
    "qat_candidates": "labkit.deploy",
    "no_telemetry": "labkit.core.telemetry",
}


def __getattr__(name: str) -> Any:
    return getattr(import_module(_MOVED[name]), name) if name in _MOVED else _own(name)
