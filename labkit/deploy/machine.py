"""The machine: what figures of speed depend on, and what its processor can do."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def machine() -> dict[str, str]:
    """Processor, cores, instructions and versions, by name: figures of speed depend on them."""
    import platform
    from importlib import metadata

    import torch

    able = torch.cpu.get_capabilities()
    wanted = ("avx2", "avx512_f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "instructions": ", ".join(name for name in wanted if able.get(name)) or "plain",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    for package in ("torch", "ultralytics", "onnxruntime", "openvino", "nncf", "ai-edge-litert"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    import platform

    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def computes_in_bfloat16() -> bool:
    """Whether the processor has instructions for it; without them it is emulated, and slow."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
