"""YOLO: starter weights and drawn data, detectors, evaluation, fine-tuning.

Names are loaded when they are first used: Ultralytics and OpenCV wait until then.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.vision.breaking import damage_by_layer as damage_by_layer
    from labkit.vision.breaking import damage_curve as damage_curve
    from labkit.vision.data import DataSet as DataSet
    from labkit.vision.data import open_data as open_data
    from labkit.vision.detections import Detections as Detections
    from labkit.vision.detections import photographs as photographs
    from labkit.vision.detections import predict as predict
    from labkit.vision.detections import read_image as read_image
    from labkit.vision.detector import Detector as Detector
    from labkit.vision.detector import open_detector as open_detector
    from labkit.vision.detector import random_like as random_like
    from labkit.vision.edges import edge_shares as edge_shares
    from labkit.vision.evaluation import Metrics as Metrics
    from labkit.vision.evaluation import evaluate as evaluate
    from labkit.vision.example_images import examples as examples
    from labkit.vision.example_images import side_by_side as side_by_side
    from labkit.vision.finetuning import FineTune as FineTune
    from labkit.vision.finetuning import FineTuned as FineTuned
    from labkit.vision.finetuning import finetune as finetune
    from labkit.vision.finetuning import forgetting as forgetting
    from labkit.vision.finetuning import head_start as head_start
    from labkit.vision.finetuning import open_run as open_run
    from labkit.vision.finetuning import resume as resume

_HOME = {
    # images with boxes
    "DataSet": "data",
    "open_data": "data",
    "examples": "example_images",
    "side_by_side": "example_images",
    # a network that is ready to run
    "Detector": "detector",
    "open_detector": "detector",
    "random_like": "detector",
    # what it finds, and how well
    "Detections": "detections",
    "predict": "detections",
    "photographs": "detections",
    "read_image": "detections",
    "Metrics": "evaluation",
    "evaluate": "evaluation",
    # what is in it, and what damage does to it
    "edge_shares": "edges",
    "damage_curve": "breaking",
    "damage_by_layer": "breaking",
    # teach it something else
    "FineTune": "finetuning",
    "finetune": "finetuning",
    "FineTuned": "finetuning",
    "resume": "finetuning",
    "open_run": "finetuning",
    "head_start": "finetuning",
    "forgetting": "finetuning",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.vision' has no attribute {name!r}")
    value = getattr(import_module(f"labkit.vision.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
