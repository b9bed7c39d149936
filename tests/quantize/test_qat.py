"""The network of a quantization-aware run, and its deployed file: checked by onnxruntime."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import labkit.quantize.qat
from labkit.core.errors import FileError, LabError
from labkit.quantize import qat_detector, qat_onnx
from labkit.quantize.qat import exported, store_integers
from labkit.vision.data import open_data
from labkit.vision.evaluation import evaluate
from labkit.vision.finetuning import checkpoint, finetune
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("qat")
    made = tiny.measured(folder / "old.safetensors"), tiny.data(folder / "data")
    return finetune(tiny.spec(*made, qat=8), folder=folder / "run")


@pytest.fixture(scope="module")
def network(run):
    return qat_detector(run)


def answer(model, image):
    """What onnxruntime computes, its optimizations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: image})


def test_it_is_the_network_that_was_judged(run, network):
    found = evaluate(network, open_data(run.spec.data), imgsz=run.spec.image_size)
    best = run.best_epoch
    assert (found.map, found.map50) == (best.map, best.map50)


def test_weights_are_rounded_as_torch_rounds_them(network):
    conv = network.model.model[0].conv
    scale = conv.weight_quantizer.amax.flatten() / 127
    rounded = torch.fake_quantize_per_channel_affine(
        conv.weight, scale, torch.zeros(len(scale), dtype=torch.int32), 0, -128, 127
    )
    torch.testing.assert_close(conv.weight_quantizer(conv.weight), rounded)
    assert rounded.unique().numel() < conv.weight.unique().numel()


def test_the_file_is_small_and_computes_the_same(run, monkeypatch, tmp_path):
    files = []

    def kept(detector):  # an export takes seconds
        files.append(exported(detector))
        return onnx.ModelProto.FromString(files[0].SerializeToString())

    monkeypatch.setattr(labkit.quantize.qat, "exported", kept)
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
    import dataclasses

    four = dataclasses.replace(run, spec=run.spec.replace(qat=4))
    with pytest.raises(LabError, match="qat=4 cannot be deployed"):
        qat_onnx(four)


def test_an_ordinary_run_has_no_ranges(run, tmp_path):
    import dataclasses

    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    facts = checkpoint.read_run(folder)
    facts["spec"]["qat"] = 0
    checkpoint.write_run(folder, facts)
    with pytest.raises(FileError, match="foresaw no quantization: fine-tune with qat=8"):
        qat_detector(dataclasses.replace(run, folder=folder))


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
