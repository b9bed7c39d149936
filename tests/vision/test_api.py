from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

from labkit import vision


def test_every_name_is_there():
    for name in vision.__all__:
        assert getattr(vision, name).__name__ == name
    assert dir(vision) == sorted(vision.__all__)


def test_no_module_takes_the_place_of_a_name():
    """Importing `labkit.vision.x` sets `labkit.vision.x` to the module."""
    modules = {found.name for found in pkgutil.iter_modules(vision.__path__)}
    assert not modules & set(vision.__all__)
    finetuning = importlib.import_module("labkit.vision.finetuning")
    assert callable(finetuning.finetune)


def test_importing_it_waits_for_nothing_heavy():
    code = "import sys, labkit.vision; print({'torch', 'cv2', 'ultralytics'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
