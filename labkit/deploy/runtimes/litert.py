"""LiteRT, Google's runtime for phones and small boards; on this machine it computes with XNNPACK.

`litert_torch` converts a network from PyTorch, `ai_edge_quantizer` rounds the file to int8.
Both are optional (`litert.txt`): without them, the rows of LiteRT say what is missing. The
runtime itself is always installed.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV")
SIGNATURE, INPUT = "serving_default", "args_0"  # as litert_torch names them


def convert(weights: str | os.PathLike[str], imgsz: int, to: Path) -> None:
    """Write a detector as `.tflite`, float32, one image at a time.

    Raises:
        RuntimeError: the converter is not installed, or the network has no end-to-end head.
        Exception: whatever the converter raises.
    """
    converter = _package("litert_torch")
    import torch

    from labkit.deploy.runtimes.export import deployed, end_to_end

    network: Any = deployed(weights)
    if not end_to_end(network.network):
        raise RuntimeError("LiteRT's converter does not support non-maximum suppression")
    for tensor in (*network.parameters(), *network.buffers()):
        # After folding, weights are not contiguous; the converter then reads a copy of them
        # that has been freed already: other numbers each time.
        tensor.data = tensor.data.contiguous()
    converter.convert(network, (torch.zeros(1, 3, imgsz, imgsz),)).export(str(to))


def quantize(base: Path, calibration: np.ndarray, to: Path) -> None:
    """Write an int8 file: weights per channel, and activations, except where boxes are decoded.

    Args:
        base: the float file.
        calibration: images, (n, 3, s, s) uint8.
        to: the file to write.

    Raises:
        RuntimeError: the package is not installed.
        Exception: whatever it raises.
    """
    quantizer, recipe, calibrator = (
        _package(f"ai_edge_quantizer.{name}") for name in ("quantizer", "recipe", "calibrator")
    )
    one = quantizer.Quantizer(str(base))
    one.load_quantization_recipe(recipe.static_wi8_ai8())
    floats = [(".*", "INPUT"), (".*", "OUTPUT"), *((place, "*") for place in floating(base))]
    for place, kind in floats:
        one.update_quantization_recipe(
            regex=place, operation_name=kind, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE
        )
    images = (calibration[k : k + 1].astype(np.float32) / 255 for k in range(len(calibration)))
    seen = one.calibrate(
        {SIGNATURE: [{INPUT: image} for image in images]},
        num_threads=1,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,  # the same ranges, faster
    )
    one.quantize(calibration_result=seen).export_model(str(to), overwrite=True)


@dataclass(frozen=True)
class Operation:
    """One operation of a file: its name in the schema, and its tensors by number."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def operations(file: Path) -> tuple[list[Operation], dict[int, dict[str, Any]]]:
    """What a file computes, in order, and what is known of its tensors (`name`, `dtype` …).

    Returns:
        The operations, and for each tensor, by number, the interpreter's details.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # else XNNPACK has merged them
    interpreter = Interpreter(str(file), experimental_op_resolver_type=plain)
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    found = [
        Operation(one["op_name"], tuple(one["inputs"]), tuple(one["outputs"]))
        for one in interpreter._get_ops_details()
    ]
    return found, tensors


def floating(file: Path) -> list[str]:
    """Patterns for the operations that stay in float: none with weights comes after them.

    They decode boxes: one scale for pixels (0 to 320) and scores (0 to 1) would make all
    scores 0.
    """
    every, tensors = operations(file)
    maker = {number: one for one in every for number in one.outputs}
    waiting = [number for one in every if one.name in WEIGHTED for number in one.inputs]
    before: set[Operation] = set()
    while waiting:
        one = maker.get(waiting.pop())
        if one is not None and one not in before:
            before.add(one)
            waiting.extend(one.inputs)
    after = [one for one in every if one not in before and one.name not in WEIGHTED]
    scopes = ("".join(f"{tensors[number]['name']};" for number in one.outputs) for one in after)
    return [f"^{re.escape(scope)}$" for scope in scopes]


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"{error.name}, which converting for LiteRT needs, is not installed: see litert.txt"
        ) from None
