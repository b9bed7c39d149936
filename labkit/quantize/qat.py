"""Quantization-aware training: the network that it makes, and the small file that it is for.

Training is `labkit.vision.finetune` with `FineTune(qat=8)`. It leaves the float weights, an
ordinary detector's that can be quantized in any other way as well, and the ranges of its grids
in the run's state.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit.core.errors import FileError, LabError
from labkit.core.files import write_atomically
from labkit.core.ultralytics import silent, ultralytics
from labkit.deploy.candidates import Candidate
from labkit.deploy.runtimes.export import write_onnx
from labkit.vision.detector import Detector, open_detector
from labkit.vision.finetuning import checkpoint

if TYPE_CHECKING:
    from labkit.vision.finetuning.records import FineTuned

RUNTIME_BITS = 8  # what integer instructions and Ultralytics' export know


def qat_ranges(folder: str | os.PathLike[str]) -> tuple[int, dict[str, Tensor]]:
    """The weights' bits of a quantization-aware run, and the largest value of each quantizer.

    Returns:
        Bits, and `model.0.conv.weight` -> `(channels, 1, 1, 1)`, `model.0.conv.input` -> `()`.

    Raises:
        FileError: no run is there, none of its epochs is complete, or it was no such run.
    """
    place = Path(folder)
    facts, state = checkpoint.read_run(place), checkpoint.read_state(place)
    bits = int(facts["spec"].get("qat", 0))
    if not bits:
        raise FileError(f"the run in {place} foresaw no quantization: fine-tune with qat=8")
    if state is None:
        raise FileError(f"the run in {place} has no complete epoch yet: resume it")
    end = "_quantizer._amax"
    ranges = {name: tensor for name, tensor in state["network"].items() if name.endswith(end)}
    return bits, {name.removesuffix(end): tensor for name, tensor in ranges.items()}


def qat_detector(run: FineTuned) -> Detector:
    """The best network of a run as it was trained and judged: with its quantizers.

    Raises:
        FileError: as `qat_ranges`.
        LabError: a package is not installed.
    """
    from labkit.vision.finetuning.quantized import modelopt, quantizers, set_weight_bits

    bits, ranges = qat_ranges(run.folder)
    detector = open_detector(run.best)
    ultralytics()
    from ultralytics.utils.torch_utils import prepare_qat

    nothing = torch.zeros(1, 3, run.spec.image_size, run.spec.image_size)
    with modelopt(), silent():  # ranges of nothing, to be replaced: Ultralytics chooses the layers
        network: Any = prepare_qat(detector.model, [nothing], lambda batch: batch, batches=1)
    for name, quantizer in quantizers(network).items():
        quantizer.amax = ranges[name]
    set_weight_bits(network, bits)
    return dataclasses.replace(detector, model=network.eval())


def qat_onnx(run: FineTuned, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the best network of a run as an ONNX file whose weights are stored as integers.

    Ultralytics' export keeps them as float32 behind quantizing nodes: four times as large, for
    the same results. Here those nodes are computed once (`store_integers`).

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

    Its weights, `run.best`, are an ordinary detector's: a search may start from them as well.

    Raises:
        LabError, FileError: as `qat_onnx`.
    """
    recipe = {"file": str(qat_onnx(run))}
    why = "trained with rounded weights and activations"
    return (
        Candidate("ONNX Runtime int8 QAT", "onnxruntime", "int8", "given", recipe, why=why),
        Candidate(
            "OpenVINO int8 QAT", "openvino", "int8", "given", recipe,
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
            with modelopt():  # the tracer warns of its code
                write_onnx(detector.model, detector.imgsz, file)
            return onnx.load(file)
        except Exception as error:  # whatever an exporter meets
            raise LabError(f"the network cannot be exported: {str(error)[:300]}") from error


def store_integers(model: Any) -> int:
    """Compute the quantizing nodes whose inputs are all constant, and store what they give.

    QuantizeLinear is round-half-to-even of x / scale, plus the zero point, saturated (the ONNX
    operator's definition); what follows, DequantizeLinear, stays, and gives the same numbers.

    Args:
        model: an `onnx.ModelProto`, changed in place.

    Returns:
        How many tensors are integers now.
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
