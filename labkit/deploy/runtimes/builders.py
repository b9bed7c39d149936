"""Builders: from a detector and options to the files that a runtime opens.

They run in the process of their candidate; whatever they raise becomes the problem in its row.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labkit.core.telemetry import no_telemetry
from labkit.deploy.runtimes.task import Task, pixels


def torch_weights(task: Task) -> list[Path]:
    """The tensors that the network computes with, one head, BatchNorm folded."""
    import torch
    from safetensors.torch import save_file

    from labkit.deploy.runtimes.export import deployed

    dtype = getattr(torch, task.build_options.get("dtype", "float32"))
    tensors = deployed(task.weights).state_dict()
    file = Path(task.folder, "model.safetensors")
    save_file({k: v.to(dtype).contiguous() for k, v in tensors.items()}, file)
    return [file]


def onnx_float(task: Task) -> list[Path]:
    """The exported file as it is."""
    return _copied(task.base, task)


def _copied(source: str, task: Task) -> list[Path]:
    file = Path(task.folder, "model").with_suffix(Path(source).suffix)
    shutil.copyfile(source, file)
    return [file]


def onnx_half(task: Task) -> list[Path]:
    """Weights and arithmetic in fp16 where the processor has it, inputs and outputs in fp32."""
    no_telemetry()
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    file = Path(task.folder, "model.onnx")
    onnx.save(convert_float_to_float16(onnx.load(task.base), keep_io_types=True), file)
    return [file]


def onnx_int8(task: Task) -> list[Path]:
    """Static quantization of ONNX Runtime."""
    from labkit.deploy.runtimes.onnx_int8 import OnnxInt8, quantize

    settings = OnnxInt8.of(task.build_options)
    file = Path(task.folder, "model.onnx")
    ranges = Path(task.ranges, f"{settings.ranges}.json")
    quantize(Path(task.base), Path(task.calibration), ranges, settings, file)
    return [file]


def openvino(task: Task) -> list[Path]:
    """The exported file, converted; `compress` stores weights as fp16."""
    from labkit.deploy.runtimes import openvino_int8

    to = Path(task.folder, "model.xml")
    model = openvino_int8.convert(Path(task.base))
    return openvino_int8.save(model, to, task.build_options.get("compress", False))


def openvino_quantized(task: Task) -> list[Path]:
    """NNCF's quantization, plain or accuracy-controlled."""
    from labkit.deploy.runtimes import openvino_int8
    from labkit.deploy.runtimes.openvino_file import slim

    calibration = np.load(task.calibration)
    control = {}
    if task.build_options.get("controlled"):
        from labkit.deploy.runtimes.truth import Truth

        truth = Truth.read(Path(task.accuracy["truth"]))
        images = np.load(task.validation)
        control = {
            "validation": images,
            "max_drop": task.accuracy["max_drop"],
            "accuracy": lambda find: truth.map_of(lambda k: find(pixels(images[k : k + 1]))[0]),
        }
    names = ("preset", "keep")
    given = {name: task.build_options[name] for name in names if name in task.build_options}
    model = openvino_int8.quantize(Path(task.base), calibration, **given, **control)
    files = openvino_int8.save(model, Path(task.folder, "model.xml"))
    slim(files[0], pixels(calibration[:1]))
    return files


def given(task: Task) -> list[Path]:
    """An ONNX file that exists already: as it is, or converted for OpenVINO."""
    file = Path(task.build_options["file"])
    if task.runtime == "openvino":
        from labkit.deploy.runtimes import openvino_int8

        return openvino_int8.save(openvino_int8.convert(file), Path(task.folder, "model.xml"))
    return _copied(str(file), task)


def litert_float(task: Task) -> list[Path]:
    """The converted file as it is."""
    return _copied(task.tflite, task)


def litert_int8(task: Task) -> list[Path]:
    """Weights and activations in int8, by LiteRT's own quantizer."""
    from labkit.deploy.runtimes.litert import quantize

    file = Path(task.folder, "model.tflite")
    quantize(Path(task.tflite), np.load(task.calibration), file)
    return [file]


BUILDERS: dict[str, Callable[[Task], list[Path]]] = {
    "torch": torch_weights,
    "onnx": onnx_float,
    "onnx-fp16": onnx_half,
    "onnx-int8": onnx_int8,
    "openvino": openvino,
    "openvino-int8": openvino_quantized,
    "given": given,
    "litert": litert_float,
    "litert-int8": litert_int8,
}
