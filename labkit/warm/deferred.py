"""A stand-in for a module that takes long to import and is hardly ever used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

IRIS = "rfc3987_syntax"


def defer_iris() -> None:
    """Have jsonschema import `rfc3987_syntax` when it first checks an IRI, not at once.

    That module builds a parser while it is imported, for more than a second. nbformat
    imports jsonschema, and its schema of a notebook asks for no IRI.
    """
    if "jsonschema" in sys.modules or IRIS in sys.modules or not importlib.util.find_spec(IRIS):
        return
    stand_in = types.ModuleType(IRIS)
    vars(stand_in)["is_valid_syntax"] = _is_valid_syntax
    sys.modules[IRIS] = stand_in
    try:
        importlib.import_module("jsonschema")  # nbformat's
    finally:
        del sys.modules[IRIS]  # other importers get the real one


def _is_valid_syntax(term: str, text: str) -> bool:
    return bool(importlib.import_module(IRIS).is_valid_syntax(term, text))
