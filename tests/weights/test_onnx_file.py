"""ONNX: the values are those that onnx's own reader gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from labkit.core.errors import FileError
from labkit.weights import load
from tests.weights import goods

KINDS = {
    "FLOAT": torch.float32,
    "DOUBLE": torch.float64,
    "FLOAT16": torch.float16,
    "BFLOAT16": torch.bfloat16,
    "FLOAT8E4M3FN": torch.float8_e4m3fn,
    "FLOAT8E5M2": torch.float8_e5m2,
    "BOOL": torch.bool,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "INT16": torch.int16,
    "UINT16": torch.uint16,
    "INT32": torch.int32,
    "UINT32": torch.uint32,
    "INT64": torch.int64,
    "UINT64": torch.uint64,
    "INT4": torch.int8,
    "UINT4": torch.int8,
}


def model(path: Path, *tensors: TensorProto, **metadata: str) -> Path:
    made = helper.make_model(helper.make_graph([], "g", [], [], initializer=list(tensors)))
    helper.set_model_props(made, metadata)
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("raw", [False, True], ids=["typed fields", "raw bytes"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_in_both_ways_it_is_kept(tmp_path, kind, raw):
    values = np.array([0, 1, 2, 3, 1, 0, 7])
    if not kind.startswith(("U", "BOOL")):
        values = values - 2
    if kind == "BOOL":
        values = values % 2
    code = getattr(TensorProto, kind)
    proto = numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(code)), "w")
    if not raw:
        proto = helper.make_tensor("w", code, [7], values.tolist())
        assert not proto.HasField("raw_data")
    tensor = load(model(tmp_path / "net.onnx", proto)).tensors["w"]
    assert tensor.dtype == KINDS[kind]
    assert tensor.double().tolist() == numpy_helper.to_array(proto).astype(float).tolist()


def test_shapes_scalars_and_empty_tensors(tmp_path):
    arrays = {"a": np.ones((2, 3), "f4"), "b": np.float32(3), "c": np.ones((0, 4), "i8")}
    protos = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    tensors = load(model(tmp_path / "net.onnx", *protos)).tensors
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "a": (2, 3),
        "b": (),
        "c": (0, 4),
    }
    assert tensors["b"].item() == 3


def test_what_ultralytics_says_about_an_export(tmp_path):
    names = "{0: 'red cell', 1: 'platelet'}"
    proto = numpy_helper.from_array(np.ones(3, "f4"), "w")
    path = model(tmp_path / "n.onnx", proto, names=names, task="detect", date="2026", stride="32")
    weights = load(path)
    assert weights.names == {0: "red cell", 1: "platelet"}
    assert (weights.task, weights.date, weights.format) == ("detect", "2026", "onnx")
    assert weights.about["stride"] == "32"


def test_names_that_would_execute_are_no_names(tmp_path):
    proto = numpy_helper.from_array(np.ones(3, "f4"), "w")
    evil = "__import__('os').system('touch canary')"
    for names in (evil, "(" * 10_000, "[" * 90_000, "{0: " + "-" * 5000 + "1}"):
        assert load(model(tmp_path / "net.onnx", proto, names=names)).names == {}


def test_a_network_that_torch_exports(tmp_path):
    network = goods.network().eval()
    path = tmp_path / "net.onnx"
    image = torch.zeros(1, 3, 3, 3)
    with pytest.warns(DeprecationWarning, match="legacy"):
        torch.onnx.export(network, (image,), str(path), dynamo=False, do_constant_folding=False)
    weights = load(path)
    held = network.state_dict()
    assert set(weights.tensors) <= set(held)
    assert {"3.weight", "3.bias"} <= set(weights.tensors)
    for name, tensor in weights.tensors.items():
        assert torch.equal(tensor, held[name])


def test_values_in_a_file_beside_it(tmp_path):
    array = np.random.default_rng(0).normal(size=(40, 50)).astype("f4")
    graph = helper.make_graph([], "g", [], [], initializer=[numpy_helper.from_array(array, "w")])
    path = tmp_path / "net.onnx"
    onnx.save_model(helper.make_model(graph), path, save_as_external_data=True, location="net.bin")
    assert (tmp_path / "net.bin").stat().st_size >= array.nbytes
    assert np.array_equal(load(path).tensors["w"].numpy(), array)
    (tmp_path / "net.bin").write_bytes(b"short")
    with pytest.raises(FileError, match=r"net\.onnx is damaged: tensor 'w'"):
        load(path)


def test_a_type_that_is_no_number(tmp_path):
    proto = helper.make_tensor("w", TensorProto.STRING, [1], [b"text"])
    with pytest.raises(FileError, match="a type that labkit does not know"):
        load(model(tmp_path / "net.onnx", proto))


def test_a_graph_without_weights(tmp_path):
    with pytest.raises(FileError, match="no initializers"):
        load(model(tmp_path / "net.onnx"))
