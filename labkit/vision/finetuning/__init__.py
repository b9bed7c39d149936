"""Fine-tuning a detector, and proof of what it changed.

Names are loaded when they are first used: torch and Ultralytics wait until then.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
