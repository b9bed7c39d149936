"""Open a file in its runtime: a session takes one image and gives boxes.

An image is (1, 3, s, s) float32 in 0 to 1; boxes are (1, n, 6) float32: left, top, right,
bottom in pixels, score, class.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from labkit.core.telemetry import no_telemetry


class Session(Protocol):
    """A file that is ready to run."""

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class OnnxRuntimeSession:
    """A file in ONNX Runtime, on the CPU unless other providers are named."""

    def __init__(
        self, file: str, threads: int, providers: tuple[Any, ...] = ("CPUExecutionProvider",)
    ) -> None:
        no_telemetry()
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(file, settings, providers=list(providers))
        self._input = self.session.get_inputs()[0].name

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.asarray(self.session.run(None, {self._input: image})[0])


class OpenVinoSession:
    """A file in OpenVINO on the CPU, tuned for the latency of one image."""

    def __init__(self, file: str, threads: int, **options: Any) -> None:
        no_telemetry()
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, **options}
        self.model = openvino.Core().compile_model(file, "CPU", settings)
        self._request = self.model.create_infer_request()
        self._output = self.model.output(0)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.array(self._request.infer({0: image}, share_inputs=True)[self._output])


class TorchSession:
    """Weights in PyTorch, BatchNorm folded, channels last in memory."""

    def __init__(self, file: str, threads: int, autocast: str | None = None) -> None:
        import torch

        from labkit.deploy.runtimes.export import deployed

        torch.set_num_threads(threads)
        self._torch, self._threads = torch, threads
        self._network = deployed(file).to(memory_format=torch.channels_last)
        self._autocast = getattr(torch, autocast) if autocast else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        torch = self._torch
        if torch.get_num_threads() != self._threads:  # it is a setting of each thread
            torch.set_num_threads(self._threads)
        lower = torch.autocast("cpu", self._autocast, enabled=self._autocast is not None)
        with torch.inference_mode(), lower:
            boxes: np.ndarray = self._network(torch.from_numpy(image)).float().numpy()
        return boxes


class LiteRtSession:
    """A file in LiteRT, on the CPU."""

    def __init__(self, file: str, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(file, num_threads=threads)
        self.interpreter.allocate_tensors()
        (self._input,) = self.interpreter.get_input_details()
        (self._output,) = self.interpreter.get_output_details()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self._input["index"], image)
        self.interpreter.invoke()
        boxes: np.ndarray = self.interpreter.get_tensor(self._output["index"])
        return boxes


def _torch(file: str, threads: int, options: Mapping[str, Any]) -> Session:
    return TorchSession(file, threads, **options)


def _onnxruntime(file: str, threads: int, options: Mapping[str, Any]) -> Session:
    return OnnxRuntimeSession(file, threads)


def _openvino(file: str, threads: int, options: Mapping[str, Any]) -> Session:
    return OpenVinoSession(file, threads, **options)


def _litert(file: str, threads: int, options: Mapping[str, Any]) -> Session:
    return LiteRtSession(file, threads)


def _tensorrt(file: str, threads: int, options: Mapping[str, Any]) -> Session:
    """TensorRT as a provider of ONNX Runtime, which has to be built with it."""
    no_telemetry()
    import onnxruntime

    name = "TensorrtExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no TensorRT: it needs onnxruntime-gpu, tensorrt")
    return OnnxRuntimeSession(file, threads, ((name, {"trt_fp16_enable": options["fp16"]}),))


OPENERS: dict[str, Callable[[str, int, Mapping[str, Any]], Session]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
    "tensorrt": _tensorrt,
}


def open_session(
    runtime: str,
    file: str | os.PathLike[str],
    *,
    threads: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Session:
    """Open a file in a runtime.

    Args:
        runtime: a name in `OPENERS`.
        file: such as `model.onnx` or `model.xml`.
        threads: how many compute one image.
        options: of the runtime; see the classes of sessions.

    Raises:
        Exception: whatever the runtime raises.
    """
    return OPENERS[runtime](str(Path(file)), threads, options or {})
