from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit.core.telemetry import no_telemetry

REPORTING = {"onnxruntime", "openvino", "nncf"}


def imports_of_runtimes():
    """Each import of a runtime in labkit, and whether its function has silenced it before."""
    for file in sorted(Path(labkit.__file__).parent.rglob("*.py")):
        tree = ast.parse(file.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names = {str(node.module)}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            if {name.partition(".")[0] for name in names} & REPORTING:
                lines = {
                    call.lineno
                    for function in functions
                    if node in ast.walk(function)
                    for call in ast.walk(function)
                    if ast.unparse(call) == "no_telemetry()"
                }
                yield f"{file.name}:{node.lineno}", min(lines, default=node.lineno) < node.lineno


def test_whoever_imports_a_runtime_has_silenced_it():
    found = dict(imports_of_runtimes())
    assert len(found) > 8, "the search finds the imports"
    assert [place for place, called in found.items() if not called] == []


@pytest.mark.parametrize("module", ["onnxruntime", "openvino", "nncf"])
def test_nothing_lands_in_the_home_folder(module, tmp_path):
    code = (
        "from labkit.core.telemetry import no_telemetry; no_telemetry(); import os, sys, "
        f"{module}; assert sys.modules.get('openvino_telemetry') is None; "
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_person_has_set_stays(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    no_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
