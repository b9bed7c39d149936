"""Deploying quantization-aware training: a small ONNX file, and candidates that open it.

`labkit.quantize.qat` makes the network with its quantizers; `labkit.vision.finetune` trains it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.core.errors import LabError
from labkit.core.files import write_atomically
from labkit.deploy.candidates import Candidate
from labkit.deploy.runtimes.export import write_onnx
from labkit.quantize.qat import qat_detector
from labkit.vision.detector import Detector

if TYPE_CHECKING:
    from labkit.vision.finetuning.records import FineTuned

RUNTIME_BITS = 8  # that integer instructions and Ultralytics' export support


def qat_onnx(run: FineTuned, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the best network of a run as an ONNX file whose weights are stored as integers.

    Ultralytics' export keeps them as float32 behind nodes that quantize them: four times as
    large, for the same results. Here those nodes are computed once (`store_integers`).

    Args:
        run: of `FineTune(qat=8)`.
        path: by default `best.onnx` beside the run's weights.

    Raises:
        LabError: the run had fewer bits, or the export fails, in the exporter's words.
        FileError: as `qat_ranges`.
    """
    if run.spec.qat not in (0, RUNTIME_BITS):
        raise LabError(
            f"qat={run.spec.qat} cannot be deployed: runtimes compute with {RUNTIME_BITS} bits. "
            f"Fine-tune with qat={RUNTIME_BITS}"
        )
    place = Path(path) if path is not None else run.best.with_suffix(".onnx")
    model = exported(qat_detector(run))
    store_integers(model)
    return write_atomically(place, model.SerializeToString())


def qat_candidates(run: FineTuned) -> tuple[Candidate, ...]:
    """The file of a run as candidates of a search, in the runtimes that read it.

    A search may also start from the weights, `run.best`, which are those of an ordinary detector.

    Raises:
        LabError, FileError: as `qat_onnx`.
    """
    options = {"file": str(qat_onnx(run))}
    why = "trained with rounded weights and activations"
    return (
        Candidate("ONNX Runtime int8 QAT", "onnxruntime", "int8", "given", options, why=why),
        Candidate(
            "OpenVINO int8 QAT", "openvino", "int8", "given", options,
            {"INFERENCE_PRECISION_HINT": "f32"}, why,
        ),
    )  # fmt: skip


def exported(detector: Detector) -> Any:
    """Ultralytics' ONNX export of a network with quantizers, weights still float.

    Raises:
        LabError: it fails, in the exporter's words.
    """
    import onnx

    from labkit.vision.finetuning.quantized import modelopt

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "network.onnx")
        try:
            with modelopt():  # the tracer warns about its code
                write_onnx(detector.model, detector.imgsz, file)
            return onnx.load(file)
        except Exception as error:  # whatever an exporter meets
            raise LabError(f"the network cannot be exported: {str(error)[:300]}") from error


def store_integers(model: Any) -> int:
    """Compute the QuantizeLinear nodes whose inputs are all constant, and store the results.

    QuantizeLinear is round-half-to-even of x / scale, plus the zero point, saturated (the ONNX
    operator's definition). The DequantizeLinear that follows stays, and gives the same numbers.

    Args:
        model: an `onnx.ModelProto`, changed in place.

    Returns:
        How many tensors were stored as integers.
    """
    from onnx import numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    done = [
        node
        for node in graph.node
        if node.op_type == "QuantizeLinear" and all(name in stored for name in node.input)
    ]
    for node in done:
        values, scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input)
        if scale.ndim:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            along = [-1 if k == axis % values.ndim else 1 for k in range(values.ndim)]
            scale, zero = scale.reshape(along), zero.reshape(along)
        kind = np.iinfo(zero.dtype)
        integers = np.rint(values / scale) + zero.astype(np.float32)
        codes = np.clip(integers, kind.min, kind.max).astype(zero.dtype)
        graph.initializer.append(numpy_helper.from_array(codes, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return len(done)
