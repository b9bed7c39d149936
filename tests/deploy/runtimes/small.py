"""A network of two convolutions in ONNX, and what it computes, by torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

SIDE = 16


def weights() -> list[np.ndarray]:
    """Of both convolutions, (out, in, 3, 3) float32."""
    generator = np.random.default_rng(0)
    shapes = ((8, 3, 3, 3), (4, 8, 3, 3))
    return [generator.normal(0, 0.3, shape).astype(np.float32) for shape in shapes]


def write(folder: Path) -> Path:
    """Conv, SiLU, Conv, then a decoding whose numbers are a thousand times as large."""
    nodes, constants, value = [], [], "images"
    for k, weight in enumerate(weights()):
        constants.append(numpy_helper.from_array(weight, f"a long name of the weight {k}"))
        name = f"/model.{k}/conv/Conv"
        nodes.append(helper.make_node("Conv", [value, constants[-1].name], [f"conv{k}"], name,
                                      pads=[1, 1, 1, 1]))  # fmt: skip
        value = f"conv{k}"
        if not k:
            nodes.append(helper.make_node("Sigmoid", [value], ["s"], f"/model.{k}/act/Sigmoid"))
            nodes.append(helper.make_node("Mul", [value, "s"], ["silu"], f"/model.{k}/act/Mul"))
            value = "silu"
    constants.append(numpy_helper.from_array(np.float32(1000), "scale"))
    nodes.append(helper.make_node("Mul", [value, "scale"], ["output0"], "/model.1/Mul"))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4, SIDE, SIDE])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "base.onnx")
    images = np.random.default_rng(1).integers(0, 256, (6, 3, SIDE, SIDE), np.uint8)
    np.save(folder / "images.npy", images)
    return folder


def images(folder: Path) -> np.ndarray:
    """What the network reads: (6, 3, 16, 16) float32."""
    return np.load(folder / "images.npy").astype(np.float32) / 255


def layers(values: np.ndarray) -> dict[str, np.ndarray]:
    """Every layer's output, computed by torch."""
    first, second = (torch.from_numpy(one) for one in weights())
    silu = functional.silu(functional.conv2d(torch.from_numpy(values), first, padding=1))
    last = functional.conv2d(silu, second, padding=1)
    return {"silu": silu.numpy(), "conv1": last.numpy(), "output0": last.numpy() * 1000}


def run(file: Path, values: np.ndarray) -> np.ndarray:
    """What ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"images": one[None]})[0] for one in values])
