from __future__ import annotations

import numpy as np
import pytest

from labkit.deploy.runtimes import openvino_int8
from labkit.deploy.runtimes.onnx_int8 import OnnxInt8, quantize
from labkit.deploy.runtimes.proof import _share, proof
from labkit.deploy.runtimes.sessions import OpenVinoSession
from tests.deploy.runtimes import small

FIRST, SECOND = (weight.size for weight in small.weights())


@pytest.mark.parametrize(
    ("options", "stored", "integer"),
    [({}, 1.0, 2), ({"layers": ["model.0"]}, SECOND / (FIRST + SECOND), 1)],
)
def test_onnxruntime(network, tmp_path, options, stored, integer):
    file = tmp_path / "int8.onnx"
    quantize(network / "base.onnx", network / "images.npy", network / "min-max.json",
             OnnxInt8.of(options), file)  # fmt: skip
    found = proof("onnxruntime", file, None)
    assert found["stored"] == pytest.approx(stored)
    assert (found["integer"], found["weighted"]) == (integer, 2)
    assert found["nodes"] > 0


def test_a_float_file_in_onnxruntime(network):
    assert proof("onnxruntime", network / "base.onnx", None) == {
        "stored": 0.0, "nodes": 0, "integer": 0, "weighted": 2,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_openvino(network, tmp_path, kind):
    base, images = network / "base.onnx", np.load(network / "images.npy")
    model = openvino_int8.convert(base) if kind == "float" else openvino_int8.quantize(base, images)
    file, _ = openvino_int8.save(model, tmp_path / "model.xml")
    session = OpenVinoSession(str(file), 1, INFERENCE_PRECISION_HINT="f32")
    found = proof("openvino", file, session)
    assert found["weighted"] == 2
    assert (found["stored"], found["integer"]) == ((0.0, 0) if kind == "float" else (1.0, 2))
    assert (found["nodes"] > 0) is (kind == "int8")


@pytest.mark.parametrize("runtime", ["torch", "tensorrt"])
def test_what_a_runtime_does_not_say_is_unknown(tmp_path, runtime):
    found = proof(runtime, tmp_path / "none", None)
    assert (found["integer"], found["weighted"]) == (None, None)


@pytest.mark.parametrize(
    ("constants", "wanted"),
    [
        ([], 0.0),
        ([((8, 3, 3, 3), True), ((8, 3, 3, 3), False)], 0.5),
        ([((10, 10), True), ((1, 300, 1), False), ((300,), False), ((), False)], 1.0),  # biases
    ],
)
def test_the_share_counts_values_of_weights_only(constants, wanted):
    assert _share(constants) == wanted
