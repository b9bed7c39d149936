from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import load_file

from labkit.deploy.runtimes import truth
from labkit.deploy.runtimes.builders import BUILDERS
from labkit.deploy.runtimes.export import deployed
from labkit.deploy.runtimes.sessions import open_session
from labkit.deploy.runtimes.task import Task
from tests.deploy.runtimes import small
from tests.vision.finetuning import tiny


@pytest.fixture
def build(network, tmp_path):
    """The files that a builder makes of the small network."""

    def one(builder, runtime="", **options):
        task = Task(
            base=str(network / "base.onnx"), tflite=str(network / "base.onnx"),
            calibration=str(network / "images.npy"), validation=str(network / "images.npy"),
            ranges=str(network), folder=str(tmp_path), runtime=runtime, build_options=options,
            accuracy={"truth": "truth.json", "max_drop": 0.01},
        )  # fmt: skip
        return BUILDERS[builder](task)

    return one


def error(network, session) -> float:
    """Noise to signal of what a session computes, in power."""
    values = small.images(network)
    wanted = small.layers(values)["output0"]
    found = np.concatenate([session(one[None]) for one in values])
    return float(np.square(found - wanted).mean() / np.square(wanted).mean())


@pytest.mark.parametrize("builder", ["onnx", "litert"])
def test_a_float_file_is_copied_as_it_is(build, network, tmp_path, builder):
    (file,) = build(builder)
    assert file == tmp_path / "model.onnx"
    assert file.read_bytes() == (network / "base.onnx").read_bytes()


def test_half_precision_inside_and_float_at_both_ends(build, network):
    (file,) = build("onnx-fp16")
    graph = onnx.load(file).graph
    kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4}
    assert kinds == {TensorProto.FLOAT16}
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    assert error(network, open_session("onnxruntime", file)) < 1e-4


def test_onnxruntimes_int8_has_its_options(build):
    (file,) = build("onnx-int8", layers=["model.0"])
    kinds = [
        tensor.data_type for tensor in onnx.load(file).graph.initializer if len(tensor.dims) == 4
    ]
    assert sorted(kinds) == sorted([TensorProto.FLOAT, TensorProto.INT8])
    with pytest.raises(ValueError, match="bitz"):
        build("onnx-int8", bitz=8)


@pytest.mark.parametrize("compress", [False, True])
def test_openvinos_weights_are_compressed_if_asked(build, network, compress):
    file, weights = build("openvino", compress=compress)
    assert (file.suffix, weights.suffix) == (".xml", ".bin")
    values = sum(one.size for one in small.weights())
    width = 2 if compress else 4
    assert values * width <= weights.stat().st_size < values * (width + 1)
    session = open_session("openvino", file, options={"INFERENCE_PRECISION_HINT": "f32"})
    assert error(network, session) < 1e-6


@pytest.mark.parametrize("options", [{}, {"preset": "performance", "keep": "outputs"}])
def test_openvinos_int8_rounds_what_it_may(build, network, options):
    file, _ = build("openvino-int8", **options)
    session = open_session("openvino", file, options={"INFERENCE_PRECISION_HINT": "f32"})
    assert 1e-9 < error(network, session) < 1e-2
    assert b"FakeQuantize" in file.read_bytes()
    assert b"rt_info" not in file.read_bytes()  # it is slim


@pytest.mark.parametrize(("loss", "rounded"), [(0.0, True), (0.5, False)])
def test_accuracy_control_gives_layers_back_to_float(build, monkeypatch, loss, rounded):
    """The accuracy falls by `loss` as soon as anything is rounded."""
    wanted = small.layers(np.zeros((1, 3, small.SIDE, small.SIDE), np.float32))["output0"].shape
    judged = []

    class Truth:
        @classmethod
        def read(cls, file):
            assert str(file) == "truth.json"
            return cls()

        def map_of(self, find):
            found = np.stack([find(k) for k in range(6)])
            assert found.shape[1:] == wanted[1:]
            judged.append(found)
            exact = np.allclose(found, judged[0], rtol=1e-5, atol=1e-3)
            return 0.9 if exact else 0.9 - loss

    monkeypatch.setattr(truth, "Truth", Truth)
    file, _ = build("openvino-int8", controlled=True)
    assert len(judged) >= 2
    assert (b"FakeQuantize" in file.read_bytes()) is rounded


@pytest.mark.parametrize(("runtime", "name"), [("onnxruntime", "onnx"), ("openvino", "xml")])
def test_a_file_that_exists_already(build, network, runtime, name):
    files = build("given", runtime=runtime, file=str(network / "base.onnx"))
    assert files[0].name == f"model.{name}"
    assert error(network, open_session(runtime, files[0])) < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pytorchs_weights_are_those_of_one_head(tmp_path, dtype):
    weights = tiny.weights(tmp_path / "w.safetensors")
    options = {} if dtype == "float32" else {"dtype": dtype}
    (file,) = BUILDERS["torch"](
        Task(weights=str(weights), folder=str(tmp_path), build_options=options)
    )
    found, wanted = load_file(file), deployed(weights).state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor.to(getattr(torch, dtype)))
