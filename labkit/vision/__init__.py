"""YOLO: starter weights and drawn data, detectors, evaluation, fine-tuning.

Names are loaded when they are first used: Ultralytics and OpenCV wait until then.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
