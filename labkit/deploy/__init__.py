"""What to deploy on this machine: candidates, measured side by side, and a choice in words.

Names are loaded when they are first used: the runtimes wait until then.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
