"""The one way to import Ultralytics: offline, with restricted loading, nothing written.

On import Ultralytics asks the network whether it is there, writes a settings file, sets
`OMP_NUM_THREADS` to 1 for the process, rewrites numpy's and torch's print options, and
from then on posts usage events, logs to whatever tracker is installed and unpickles
checkpoints freely. Here it does none of that; what the user has set by an environment
variable (`YOLO_OFFLINE=false`, `YOLO_VERBOSE=true`, …) is respected.

Call `ultralytics()` before the first `from ultralytics… import …` of a function.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ENVIRONMENT = {
    "YOLO_OFFLINE": "true",  # no network checks, and with them no usage events
    "YOLO_AUTOINSTALL": "false",  # nothing is installed at run time
    "YOLO_VERBOSE": "false",  # errors only
    "ULTRALYTICS_SAFE_LOAD": "true",  # weights_only=True with its allow-list, read at import
}
TRACKERS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")

_lock = threading.RLock()
_module: ModuleType | None = None


def ultralytics() -> ModuleType:
    """The `ultralytics` package, imported quietly.

    The user's Ultralytics settings are read (where data sets lie, for one) and never written:
    the process works on a copy. Usage events stay off unless `YOLO_OFFLINE=false` is set
    in the environment; then the settings decide.
    """
    global _module
    with _lock:
        if _module is None:
            if "ultralytics.utils" in sys.modules:  # the user imported it first
                import ultralytics as module
            else:
                module = _import()
            _switch_off()
            _module = module
        return _module


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Ultralytics prints only errors inside the `with`, whoever imported it first."""
    ultralytics()
    from ultralytics.utils import LOGGER

    before = LOGGER.level
    LOGGER.setLevel(max(before, logging.ERROR))
    try:
        yield
    finally:
        LOGGER.setLevel(before)


def _import() -> ModuleType:
    # Torch first: it reads OMP_NUM_THREADS when it loads, and Ultralytics would set it to 1.
    import numpy
    import torch

    numpy_options = numpy.get_printoptions()
    torch_options = dict(vars(torch._tensor_str.PRINT_OPTS))
    with _environment(), _copied_settings():
        import ultralytics as module
        from ultralytics.utils import SETTINGS
    SETTINGS._save = lambda: None  # the copy is gone; the user's own file is not ours to write
    numpy.set_printoptions(**numpy_options)
    torch.set_printoptions(**torch_options)
    return module


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Sets ENVIRONMENT where the user has set nothing; afterwards everything is as it was."""
    before = dict(os.environ)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _copied_settings() -> Iterator[None]:
    """A private copy of the user's settings file, deleted when the import is done.

    Ultralytics writes the file when there is none, and again when its schema is new.
    """
    folder = Path(tempfile.mkdtemp(prefix="labkit-ultralytics-"))
    own = _settings_file()
    try:
        if own.is_file():
            (folder / "Ultralytics").mkdir()
            shutil.copyfile(own, folder / "Ultralytics" / own.name)
        os.environ["YOLO_CONFIG_DIR"] = str(folder)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings_file() -> Path:
    """Where Ultralytics keeps the user's settings (`ultralytics.utils.get_user_config_dir`)."""
    home = Path.home()
    if chosen := os.environ.get("YOLO_CONFIG_DIR"):
        folder = Path(chosen).expanduser()
    elif sys.platform == "win32":
        folder = home / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME", home / ".config"))
    return folder / "Ultralytics" / "settings.json"


def _switch_off() -> None:
    """No trackers and no events in this process; nothing of it reaches the settings file."""
    from ultralytics.utils import SETTINGS

    dict.update(SETTINGS, dict.fromkeys(TRACKERS, False))  # not their own update: it saves
    offline = os.environ.get("YOLO_OFFLINE", "").strip().lower()
    if offline not in ("0", "false", "no", "off", "n", "f"):
        dict.__setitem__(SETTINGS, "sync", False)
        from ultralytics.utils.events import events

        events.enabled = False
