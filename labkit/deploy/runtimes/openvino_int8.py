"""int8 for OpenVINO, by NNCF (`nncf.quantize`, `nncf.quantize_with_accuracy_control`).

The ONNX file is converted first, not just read: conversion turns each Sigmoid and Mul into one
Swish and folds constants. Quantized from the raw graph, SiLU stays outside of the convolutions'
kernels, and the file is twice as large.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from labkit.core.telemetry import no_telemetry
from labkit.deploy.runtimes.task import pixels

WEIGHTED = ("Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData")


def convert(base: Path) -> Any:
    """An ONNX file as OpenVINO's model.

    Raises:
        Exception: whatever OpenVINO raises.
    """
    no_telemetry()
    import openvino

    return openvino.convert_model(base)


def save(model: Any, to: Path, compress: bool = False) -> list[Path]:
    """Write a model: `model.xml` and `model.bin`; `compress` stores float weights as fp16."""
    no_telemetry()
    import openvino

    openvino.save_model(model, to, compress_to_fp16=compress)
    return [to, to.with_suffix(".bin")]


def quantize(
    base: Path,
    calibration: np.ndarray,
    *,
    preset: str = "mixed",
    keep: str = "decode",
    accuracy: Callable[[Callable[[np.ndarray], np.ndarray]], float] | None = None,
    validation: np.ndarray | None = None,
    max_drop: float = 0.01,
) -> Any:
    """An int8 model.

    Args:
        base: the float ONNX file.
        calibration: images, (n, 3, s, s) uint8.
        preset: "mixed" has asymmetric activations where they are negative, "performance"
            symmetric ones.
        keep: what stays in float: "decode" is what only decodes boxes, "outputs" also the last
            convolutions, which give the numbers that are decoded.
        accuracy: the accuracy of a function from an image to boxes. If it is given, layers go
            back to float until no more than `max_drop` is lost (accuracy-aware quantization).
        validation: images for it, (n, 3, s, s) uint8.
        max_drop: of accuracy, absolute.

    Raises:
        Exception: whatever NNCF raises.
    """
    no_telemetry()
    import nncf

    nncf.set_log_level(logging.ERROR)
    model = convert(base)
    settings: dict[str, Any] = {
        "preset": {
            "mixed": nncf.QuantizationPreset.MIXED,
            "performance": nncf.QuantizationPreset.PERFORMANCE,
        }[preset],
        "subset_size": len(calibration),
        "ignored_scope": nncf.IgnoredScope(names=floating(model, keep), validate=False),
    }
    images = nncf.Dataset([pixels(calibration[k : k + 1]) for k in range(len(calibration))])
    if accuracy is None:
        return nncf.quantize(model, images, **settings)
    assert validation is not None

    def judge(compiled: Any, _: Any) -> float:
        request, output = compiled.create_infer_request(), compiled.output(0)
        return accuracy(lambda image: np.array(request.infer({0: image})[output]))

    return nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=images,
        validation_dataset=nncf.Dataset(list(range(len(validation)))),
        validation_fn=judge,
        max_drop=max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        **settings,
    )


def floating(model: Any, keep: str = "decode") -> list[str]:
    """The operations that stay in float: none with weights comes after them."""
    weighted = [op for op in model.get_ops() if op.get_type_name() in WEIGHTED]
    before: set[str] = set()
    waiting = list(weighted)
    while waiting:
        for value in waiting.pop().input_values():
            op = value.get_node()
            if op.get_friendly_name() not in before:
                before.add(op.get_friendly_name())
                waiting.append(op)
    if keep != "outputs":
        before |= {op.get_friendly_name() for op in weighted}
    kinds = ("Constant", "Parameter", "Result")
    return [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_friendly_name() not in before and op.get_type_name() not in kinds
    ]
