"""labkit: an interactive lab for model weights. This is its public API, on one screen.

Names are loaded when they are first used, so that `import labkit` costs next to nothing
and `labkit lab` starts without waiting for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
