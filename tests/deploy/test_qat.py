"""The deployed file of quantization-aware training: checked by onnxruntime."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from labkit.core.errors import LabError
from labkit.core.ultralytics import silent, ultralytics
from labkit.deploy import qat
from labkit.deploy.qat import exported, qat_candidates, qat_onnx, store_integers
from labkit.deploy.runtimes.builders import BUILDERS
from labkit.vision import open_detector
from labkit.vision.finetuning.quantized import modelopt
from tests.vision.finetuning import tiny


def answer(model, image):
    """What onnxruntime computes, its optimizations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: image})


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A detector with quantizers, as a run leaves them; the weights are not trained."""
    detector = open_detector(tiny.measured(tmp_path_factory.mktemp("qat") / "w.safetensors"))
    ultralytics()
    from ultralytics.utils.torch_utils import prepare_qat

    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with modelopt(), silent():
        made: Any = prepare_qat(detector.model, [images], lambda batch: batch, batches=1)
    return dataclasses.replace(detector, model=made.eval(), imgsz=64)


@pytest.fixture
def run(network, monkeypatch, tmp_path):
    """What is read of a run, and its network."""
    monkeypatch.setattr(qat, "qat_detector", lambda run: network)
    return SimpleNamespace(spec=SimpleNamespace(qat=8), best=tmp_path / "best.safetensors")


def test_the_file_is_small_and_computes_the_same(run, monkeypatch, tmp_path):
    files = []

    def kept(detector):  # an export takes seconds
        files.append(exported(detector))
        return onnx.ModelProto.FromString(files[0].SerializeToString())

    monkeypatch.setattr(qat, "exported", kept)
    path = qat_onnx(run, tmp_path / "small.onnx")
    small, large = onnx.load(path), files[0]
    onnx.checker.check_model(small, full_check=True)
    kinds = {tensor.data_type for tensor in small.graph.initializer}
    assert kinds == {TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64}

    image = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    for mine, theirs in zip(answer(small, image), answer(large, image), strict=True):
        np.testing.assert_array_equal(mine, theirs)

    def weights(model):  # the network is so small that names and scales weigh as much
        tensors = [t for t in model.graph.initializer if np.prod(t.dims) > 1000]
        return sum(numpy_helper.to_array(tensor).nbytes for tensor in tensors)

    assert weights(small) < 0.3 * weights(large)
    assert path.stat().st_size < large.ByteSize()
    assert len(small.metadata_props) > 5, "what Ultralytics reads: names, stride, task"


def test_fewer_bits_cannot_be_deployed(run):
    run.spec.qat = 4
    with pytest.raises(LabError, match="qat=4 cannot be deployed"):
        qat_onnx(run)


def test_the_file_is_a_candidate_in_each_runtime_that_reads_it(monkeypatch, tmp_path):
    file = tmp_path / "best.onnx"
    monkeypatch.setattr(qat, "qat_onnx", lambda run: file)
    found = qat_candidates(SimpleNamespace())
    assert [one.runtime for one in found] == ["onnxruntime", "openvino"]
    assert {one.builder for one in found} == {"given"} <= BUILDERS.keys()
    assert all(one.build_options == {"file": str(file)} for one in found)
    assert all(one.deploys and not one.is_float for one in found)


def test_an_export_that_fails_is_an_error_in_its_words(monkeypatch, network):
    def broken(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(qat, "write_onnx", broken)
    with pytest.raises(LabError, match="the network cannot be exported: no such operator"):
        exported(network)


# --- nodes by themselves ---------------------------------------------------------------


def pair(values, scale, zero, **attributes):
    """QuantizeLinear and DequantizeLinear of constants, added to an input."""
    constants = {"values": values, "scale": scale, "zero": zero}
    nodes = [
        helper.make_node("QuantizeLinear", ["values", "scale", "zero"], ["codes"], **attributes),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["back"], **attributes),
        helper.make_node("Add", ["x", "back"], ["y"]),
    ]
    shape = list(values.shape)
    graph = helper.make_graph(
        nodes,
        "pair",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    return model


ROWS = np.random.default_rng(0).normal(0, 40, (4, 6)).astype(np.float32)
TIES = np.array([[-300.0, -1.5, -0.5, 0.5, 1.5, 300.0]] * 4, np.float32)


@pytest.mark.parametrize("values", [ROWS, TIES], ids=["random", "ties and saturation"])
@pytest.mark.parametrize(
    ("scale", "kind", "attributes"),
    [
        (np.float32(0.5), np.int8, {}),
        (np.float32(1.0), np.uint8, {}),
        (np.array([0.5, 1, 2, 0.3], np.float32), np.int8, {"axis": 0}),
        (np.array([0.5, 1, 2, 0.3, 1, 1], np.float32), np.int8, {"axis": 1}),
        (np.array([0.5, 1, 2, 0.3, 1, 1], np.float32), np.uint8, {"axis": -1}),
    ],
    ids=["tensor", "unsigned", "rows", "columns", "last axis"],
)
def test_stored_integers_are_those_that_the_node_gives(values, scale, kind, attributes):
    zero = np.full(np.shape(scale), 3 if kind is np.uint8 else 0, kind)
    model = pair(values, np.asarray(scale), zero, **attributes)
    wanted = answer(model, np.zeros_like(values))[0]
    assert store_integers(model) == 1
    assert [node.op_type for node in model.graph.node] == ["DequantizeLinear", "Add"]
    assert sorted(t.name for t in model.graph.initializer) == ["codes", "scale", "zero"]
    np.testing.assert_array_equal(answer(model, np.zeros_like(values))[0], wanted)


def test_what_is_not_constant_stays():
    model = pair(ROWS, np.asarray(np.float32(1)), np.zeros((), np.int8))
    model.graph.node[0].input[0] = "x"
    assert store_integers(model) == 0
    assert next(node.op_type for node in model.graph.node) == "QuantizeLinear"
