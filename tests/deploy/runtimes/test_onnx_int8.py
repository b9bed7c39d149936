from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from labkit.deploy.runtimes.calibration import observe, read_ranges
from labkit.deploy.runtimes.onnx_int8 import OnnxInt8, float_nodes, quantize, shorten_names
from labkit.deploy.runtimes.proof import proof


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Conv, SiLU, Conv, then a decoding whose numbers are a thousand times as large."""
    generator = np.random.default_rng(0)
    nodes, weights, value = [], [], "images"
    for k, (inputs, outputs) in enumerate([(3, 8), (8, 4)]):
        shape = (outputs, inputs, 3, 3)
        weight = generator.normal(0, 0.3, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"a long name of the weight {k}"))
        name = f"/model.{k}/conv/Conv"
        nodes.append(helper.make_node("Conv", [value, weights[-1].name], [f"conv{k}"], name,
                                      pads=[1, 1, 1, 1]))  # fmt: skip
        value = f"conv{k}"
        if not k:
            nodes.append(helper.make_node("Sigmoid", [value], ["s"], f"/model.{k}/act/Sigmoid"))
            nodes.append(helper.make_node("Mul", [value, "s"], ["silu"], f"/model.{k}/act/Mul"))
            value = "silu"
    weights.append(numpy_helper.from_array(np.float32(1000), "scale"))
    nodes.append(helper.make_node("Mul", [value, "scale"], ["output0"], "/model.1/Mul"))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4, 16, 16])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder = tmp_path_factory.mktemp("onnx")
    onnx.save(model, folder / "base.onnx")
    np.save(folder / "images.npy", generator.integers(0, 256, (6, 3, 16, 16), np.uint8))
    observe(folder / "base.onnx", folder / "images.npy", "min-max", folder / "min-max.json")
    return folder


def run(file, images):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"images": one[None]})[0] for one in images])


def pixels(folder):
    return np.load(folder / "images.npy").astype(np.float32) / 255


def test_ranges_are_those_of_the_tensors(network):
    model = onnx.load(network / "base.onnx")
    for name in ("silu", "conv1"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    seen = [session.run(["silu", "conv1"], {"images": one[None]}) for one in pixels(network)]
    ranges = read_ranges(network / "min-max.json")
    for k, name in enumerate(("silu", "conv1")):
        values = np.concatenate([one[k] for one in seen])
        np.testing.assert_allclose(ranges[name], (values.min(), values.max()), rtol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "kept"),
    [
        ({}, {"/model.1/Mul"}),
        ({"operators": "convolutions"},
         {"/model.1/Mul", "/model.0/act/Sigmoid", "/model.0/act/Mul"}),
        ({"keep": "outputs"}, {"/model.1/Mul", "/model.1/conv/Conv"}),
        ({"keep": "head"}, {"/model.1/Mul", "/model.1/conv/Conv"}),
        ({"layers": ["model.0"]},
         {"/model.1/Mul", "/model.0/conv/Conv", "/model.0/act/Sigmoid", "/model.0/act/Mul"}),
        ({"layers": ["model.0.act"]},
         {"/model.1/Mul", "/model.0/act/Sigmoid", "/model.0/act/Mul"}),
    ],
)  # fmt: skip
def test_what_stays_in_float(network, recipe, kept):
    graph = onnx.load(network / "base.onnx").graph
    assert float_nodes(graph, OnnxInt8.of(recipe)) == kept


def test_int8_is_int8_and_nearly_the_same(network, tmp_path):
    to = tmp_path / "int8.onnx"
    images = network / "images.npy"
    quantize(network / "base.onnx", images, network / "min-max.json", OnnxInt8(), to)
    wanted, given = run(network / "base.onnx", pixels(network)), run(to, pixels(network))
    error = np.square(given - wanted).mean() / np.square(wanted).mean()
    assert 0 < error < 1e-3  # 30 dB: eight bits, and not float
    found = proof("onnxruntime", to, None)
    assert found["stored"] == 1.0
    assert found["integer"] == found["weighted"] == 2
    assert proof("onnxruntime", network / "base.onnx", None) == {
        "stored": 0.0, "nodes": 0, "integer": 0, "weighted": 2,
    }  # fmt: skip
    assert found["nodes"] > 0
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]


def test_short_names_change_no_number(network, tmp_path):
    file = tmp_path / "short.onnx"
    file.write_bytes((network / "base.onnx").read_bytes())
    before = run(file, pixels(network))
    size = file.stat().st_size
    shorten_names(file)
    np.testing.assert_array_equal(run(file, pixels(network)), before)
    assert file.stat().st_size < size - 100
    onnx.checker.check_model(onnx.load(file))


def test_a_recipe_with_a_slip_is_refused():
    with pytest.raises(ValueError, match="perchannel"):
        OnnxInt8.of({"perchannel": True})
