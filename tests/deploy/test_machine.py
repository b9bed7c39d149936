from __future__ import annotations

import json
import os
import platform
from importlib import metadata

import pytest
import torch

from labkit.deploy.machine import computes_in_bfloat16, machine


def test_what_figures_of_speed_depend_on():
    found = machine()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] == str(os.cpu_count())
    assert found["python"] == platform.python_version()
    assert found["processor"]
    for package in ("torch", "onnxruntime", "openvino"):
        assert found[package] == metadata.version(package)


@pytest.mark.parametrize(
    ("able", "instructions", "bfloat16"),
    [({}, "plain", False), ({"avx2": True, "avx512_vnni": False}, "avx2", False),
     ({"avx512_bf16": True}, "avx512_bf16", True), ({"amx_bf16": True}, "amx_bf16", True)],
)  # fmt: skip
def test_what_the_processor_can_do(monkeypatch, able, instructions, bfloat16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert machine()["instructions"] == instructions
    assert computes_in_bfloat16() is bfloat16
