"""The module that is imported late: jsonschema checks IRIs as it does without."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CHECK = """
import json, sys
if {defer}:
    from labkit.warm.deferred import defer_iris
    defer_iris()
import jsonschema
late = "rfc3987_syntax" not in sys.modules
def valid(text, kind):
    schema = {{"type": "string", "format": kind}}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(text)
texts = ["http://ƒøø.ßår/?∂éœ=πîx#πîüx", "abc", "http://a b", "//x/y?q=ä", "\\\\x", ""]
print(json.dumps([late, [[valid(t, k) for t in texts] for k in ("iri", "iri-reference")]]))
import rfc3987_syntax
assert rfc3987_syntax.__file__
"""


def checked(defer: bool) -> tuple[bool, list[list[bool]]]:
    """Whether the module waited, and what is valid, in a fresh process."""
    command = [sys.executable, "-c", CHECK.format(defer=defer)]
    late, valid = json.loads(subprocess.check_output(command, text=True))
    return late, valid


def test_iris_are_checked_as_ever():
    pytest.importorskip("rfc3987_syntax", reason="jsonschema checks no IRIs without it")
    (late, valid), (at_once, expected) = checked(True), checked(False)
    assert (late, at_once) == (True, False)
    assert valid == expected
    assert any(map(any, valid))
    assert not all(map(all, valid))
