"""Runtimes and exporters without telemetry: nothing is sent, nothing lands in the home folder.

ONNX Runtime (from 1.29 on, on Linux as well), OpenVINO and NNCF report their use unless they
are told otherwise before they are imported.
"""

from __future__ import annotations

import os
import sys

SILENT = {"ORT_DISABLE_TELEMETRY": "1"}  # read when ONNX Runtime is imported


def no_telemetry() -> None:
    """Keep the runtimes from reporting their use. Call it before they are imported.

    `import openvino` alone sends an event and writes a client's id into the home folder. There
    is no switch for it but the package that sends: where `openvino_telemetry` cannot be
    imported, OpenVINO and NNCF use stubs of their own. What the user has set for ONNX Runtime is
    kept.
    """
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
