"""Fewer bits: what they do to weights, and what to deploy on this machine.

Names are loaded when they are first used: torch, Ultralytics and the runtimes wait until then.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
