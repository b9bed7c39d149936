"""Proof that int8 is int8: what a file stores and what its runtime computes in integers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labkit.core.telemetry import no_telemetry

QUANTIZE = ("QuantizeLinear", "DequantizeLinear", "FakeQuantize")
ONNX_WEIGHTED = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
ONNX_INTEGER = ("QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger", "ConvInteger")
OPENVINO_WEIGHTED = ("Convolution", "GroupConvolution", "MatMul", "FullyConnected")


def proof(runtime: str, file: Path, session: Any) -> dict[str, Any]:
    """How much of a file is int8, and how much of it is computed in int8.

    Args:
        runtime: a name in `labkit.deploy.runtimes.sessions.OPENERS`.
        file: what it has opened.
        session: the open session; only OpenVINO's is looked at.

    Returns:
        `stored`: the share of weights that are stored as integers of 8 bits; a weight is a
        value of a constant with at least two dimensions that are longer than one.
        `nodes`: how many quantize and dequantize nodes the file has.
        `integer`, `weighted`: how many operators with weights the runtime computes in
        integers, and how many there are; None if it does not say.
    """
    if runtime == "onnxruntime":
        return {**_onnx(file), **_onnxruntime(file)}
    if runtime == "openvino":
        return {**_openvino(file), **_openvino_computed(session)}
    if runtime == "litert":
        return _litert(file)
    return {"stored": 0.0, "nodes": 0, "integer": None, "weighted": None}


def _onnx(file: Path) -> dict[str, Any]:
    import onnx

    graph = onnx.load(file).graph
    integers = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    stored = (
        (tuple(tensor.dims), tensor.data_type in integers)
        for tensor in graph.initializer
        if tensor.data_type in (*integers, *floats)
    )
    return {"stored": _share(stored), "nodes": sum(n.op_type in QUANTIZE for n in graph.node)}


def _share(constants: Iterable[tuple[tuple[int, ...], bool]]) -> float:
    """The share of the weights that are integers, by count of values."""
    import math

    weights = [
        (math.prod(shape), integer)
        for shape, integer in constants
        if sum(extent > 1 for extent in shape) >= 2
    ]
    total = sum(count for count, _ in weights)
    return sum(count for count, integer in weights if integer) / total if total else 0.0


def _onnxruntime(file: Path) -> dict[str, Any]:
    """The operators after ONNX Runtime has fused what it fuses on this machine."""
    import tempfile

    no_telemetry()
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder, "fused.onnx")
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.optimized_model_filepath = str(fused)
        onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        kinds = [node.op_type for node in onnx.load(fused).graph.node]
    integer = sum(kind in ONNX_INTEGER for kind in kinds)
    return {"integer": integer, "weighted": integer + sum(k in ONNX_WEIGHTED for k in kinds)}


def _openvino(file: Path) -> dict[str, Any]:
    no_telemetry()
    import openvino

    operations = openvino.Core().read_model(file).get_ops()
    constants = []
    for operation in operations:
        if operation.get_type_name() == "Constant":
            kind = operation.get_element_type().get_type_name()
            if kind in ("i8", "u8", "f32", "f16", "bf16"):
                constants.append((tuple(operation.get_output_shape(0)), kind in ("i8", "u8")))
    nodes = sum(operation.get_type_name() in QUANTIZE for operation in operations)
    return {"stored": _share(constants), "nodes": nodes}


def _openvino_computed(session: Any) -> dict[str, Any]:
    """The precisions of the kernels that OpenVINO has chosen, from its execution graph."""
    integer = weighted = 0
    for operation in session.model.get_runtime_model().get_ordered_ops():
        info = {key: str(value.astype(str)) for key, value in operation.get_rt_info().items()}
        if info.get("layerType") in OPENVINO_WEIGHTED:
            weighted += 1
            integer += info.get("runtimePrecision", "").lower() in ("i8", "u8")
    return {"integer": integer, "weighted": weighted}


def _litert(file: Path) -> dict[str, Any]:
    """LiteRT computes an operator in integers if it reads nothing but integers."""
    import numpy as np
    import torch

    from labkit.deploy.runtimes.litert import WEIGHTED, operations
    from labkit.weights.tflite_file import read

    tensors, _ = read(file)
    stored = (
        (tuple(tensor.shape), tensor.dtype == torch.int8)
        for tensor in tensors.values()
        if tensor.dtype == torch.int8 or tensor.is_floating_point()
    )
    every, known = operations(file)
    kinds = [
        [known[number]["dtype"] for number in one.inputs if number in known]
        for one in every
        if one.name in WEIGHTED
    ]
    return {
        "stored": _share(stored),
        "nodes": sum(one.name in ("QUANTIZE", "DEQUANTIZE") for one in every),
        "integer": sum(all(np.issubdtype(kind, np.integer) for kind in one) for one in kinds),
        "weighted": len(kinds),
    }
