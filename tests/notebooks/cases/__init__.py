"""The cases of all notebooks: each module here holds those of one or a few, in `CASES`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.notebooks.cases.case import Case

CASES: list[Case] = [
    case
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__))
    for case in getattr(importlib.import_module(f"{__name__}.{module}"), "CASES", [])
]
