from __future__ import annotations

import numpy as np
import onnx
import pytest

from labkit.deploy.runtimes.onnx_int8 import OnnxInt8, float_nodes, quantize, shorten_names
from labkit.deploy.runtimes.proof import proof
from tests.deploy.runtimes import small


@pytest.mark.parametrize(
    ("options", "kept"),
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
def test_what_stays_in_float(network, options, kept):
    graph = onnx.load(network / "base.onnx").graph
    assert float_nodes(graph, OnnxInt8.of(options)) == kept


@pytest.mark.parametrize("options", [{}, {"per_channel": False}, {"activations": "int8"}])
def test_int8_is_nearly_the_same(network, tmp_path, options):
    to = tmp_path / "int8.onnx"
    images, ranges = network / "images.npy", network / "min-max.json"
    quantize(network / "base.onnx", images, ranges, OnnxInt8.of(options), to)
    values = small.images(network)
    wanted, given = small.layers(values)["output0"], small.run(to, values)
    error = np.square(given - wanted).mean() / np.square(wanted).mean()
    assert 0 < error < 1e-3  # 30 dB: eight bits, and not float
    assert proof("onnxruntime", to, None)["stored"] == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]


def test_short_names_change_no_number(network, tmp_path):
    file = tmp_path / "short.onnx"
    file.write_bytes((network / "base.onnx").read_bytes())
    before = small.run(file, small.images(network))
    size = file.stat().st_size
    shorten_names(file)
    np.testing.assert_array_equal(small.run(file, small.images(network)), before)
    assert file.stat().st_size < size - 100
    onnx.checker.check_model(onnx.load(file))


@pytest.mark.parametrize(
    ("options", "ranges"),
    [({}, "min-max"), ({"calibration": "entropy"}, "entropy"), ({"images": "own"}, "own-min-max")],
)
def test_candidates_with_the_same_calibration_share_its_file(options, ranges):
    assert OnnxInt8.of(options).ranges == ranges


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="perchannel: no option"):
        OnnxInt8.of({"perchannel": True})
