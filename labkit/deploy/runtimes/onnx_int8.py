"""int8 for ONNX Runtime: which operators are quantized, and how.

`onnxruntime.quantization.quantize_static` puts Q/DQ pairs around operators; when a session
opens the file, it fuses a `Conv` between two pairs into a `QLinearConv`, and so on. What
matters on a CPU:

* activations unsigned: on x86 there is no fast kernel for signed ones, and ONNX Runtime then
  computes in float between Q/DQ pairs;
* elementwise operators quantized too: otherwise every SiLU goes to float and back;
* the decoding of boxes in float: one scale for pixels (0 to 640) and scores (0 to 1) makes all
  scores 0. Here it always stays in float, and so does the selection of the best boxes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from labkit.core.telemetry import no_telemetry

WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")


@dataclass(frozen=True)
class OnnxInt8:
    """Settings of the quantization.

    Attributes:
        activations: their type; weights are int8.
        per_channel: a scale for each output channel of a weight tensor, else one for all.
        reduce_range: weights in 7 bits, so that 16-bit sums cannot saturate where the
            processor lacks VNNI.
        operators: all that have a quantized form, or only those with weights.
        calibration: min-max, percentile or entropy.
        keep: what stays in float beside the decoding: nothing ("decode"), also the last
            convolutions ("outputs"), or the whole last block ("head").
        layers: names of blocks ("model.10") that stay in float.
        images: which images the ranges are from: "given" are those to calibrate with, "own"
            those of the data that accuracy is measured on.
    """

    activations: Literal["uint8", "int8"] = "uint8"
    per_channel: bool = True
    reduce_range: bool = False
    operators: Literal["all", "convolutions"] = "all"
    calibration: Literal["min-max", "percentile", "entropy"] = "min-max"
    keep: Literal["decode", "outputs", "head"] = "decode"
    layers: Sequence[str] = ()
    images: Literal["given", "own"] = "given"

    @property
    def ranges(self) -> str:
        """The name of the file of its ranges."""
        return self.calibration if self.images == "given" else f"own-{self.calibration}"

    @classmethod
    def of(cls, options: dict[str, Any]) -> OnnxInt8:
        """From JSON values.

        Raises:
            ValueError: an option that does not exist.
        """
        known = {field.name for field in fields(cls)}
        if wrong := set(options) - known:
            raise ValueError(f"{', '.join(sorted(wrong))}: no option of this builder")
        return cls(**options)


def quantize(base: Path, calibration: Path, ranges: Path, settings: OnnxInt8, to: Path) -> None:
    """Write an int8 file.

    Args:
        base: the float file.
        calibration: images, for tensors that are not in `ranges`.
        ranges: what `labkit.deploy.runtimes.calibration.observe` has left.
        settings: how.
        to: the file to write.

    Raises:
        Exception: whatever ONNX Runtime raises.
    """
    no_telemetry()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    from labkit.deploy.runtimes.calibration import METHODS, OPTIONS, Images

    model = onnx.load(base)
    activations = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}[settings.activations]
    own = shutil.copyfile(base, to.with_name("float.onnx"))  # files are written beside it
    quantize_static(
        own,
        to,
        Images(calibration, model.graph.input[0].name),  # type: ignore[arg-type]
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=sorted(float_nodes(model.graph, settings)),
        calibrate_method=CalibrationMethod[METHODS[settings.calibration]],
        calibration_cache_path=ranges,
        extra_options=OPTIONS.get(settings.calibration, {}),
    )
    own.unlink()
    shorten_names(to)


def float_nodes(graph: Any, settings: OnnxInt8) -> set[str]:
    """The names of the nodes that stay in float."""
    before = _before_weights(graph)
    last = _last_block(graph)
    kept = set()
    for node in graph.node:
        weighted = node.op_type in WEIGHTED
        tail = node.name not in before
        if (
            (tail and not weighted)
            or (settings.keep == "outputs" and tail)
            or (settings.keep == "head" and _in_block(node.name, last))
            or (settings.operators == "convolutions" and not weighted)
            or any(_in_block(node.name, layer) for layer in settings.layers)
        ):
            kept.add(node.name)
    return kept


def _before_weights(graph: Any) -> set[str]:
    """Nodes whose results reach an operator with weights; the others only decode."""
    maker = {output: node for node in graph.node for output in node.output}
    waiting = [name for node in graph.node if node.op_type in WEIGHTED for name in node.input]
    found: set[str] = set()
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return found


def _last_block(graph: Any) -> str:
    """The block of the last node, as `model.23`."""
    numbers = [
        int(parts[0])
        for node in graph.node
        if (parts := node.name.removeprefix("/model.").split("/")) and parts[0].isdigit()
    ]
    return f"model.{max(numbers, default=-1)}"


def _in_block(node: str, block: str) -> bool:
    """Whether `/model.10/cv1/conv/Conv` belongs to `model.10`, or to `model.10.cv1`."""
    return f"{node.strip('/').replace('/', '.')}.".startswith(f"{block}.")


def shorten_names(file: Path) -> None:
    """Shorten the names inside of a graph: they are a tenth of a small int8 file.

    Inputs and outputs keep theirs. Names of nodes and types of tensors in between, which no
    runtime needs, are removed.
    """
    import onnx

    model = onnx.load(file)
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    short: dict[str, str] = {"": ""}

    def named(name: str) -> str:
        if name in kept:
            return name
        return short.setdefault(name, f"{len(short):x}")

    for node in graph.node:
        node.name = ""
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = named(tensor.name)
    del graph.value_info[:]
    onnx.save(model, file)
