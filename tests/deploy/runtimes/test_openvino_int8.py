from __future__ import annotations

import numpy as np
import pytest

from labkit.deploy.runtimes.openvino_file import slim
from labkit.deploy.runtimes.openvino_int8 import floating, save


@pytest.fixture(scope="module")
def model():
    """A convolution, its activation, another convolution, and a decoding."""
    import openvino
    from openvino import opset13 as ops

    generator = np.random.default_rng(0)

    def convolution(value, inputs, outputs, name):
        weight = ops.constant(generator.normal(0, 0.3, (outputs, inputs, 3, 3)).astype(np.float32))
        made = ops.convolution(value, weight, [1, 1], [1, 1], [1, 1], [1, 1])
        made.set_friendly_name(name)
        return made

    images = ops.parameter([1, 3, 16, 16], np.float32, "images")
    activated = ops.swish(convolution(images, 3, 8, "first"))
    activated.set_friendly_name("activation")
    decoded = ops.multiply(convolution(activated, 8, 4, "last"), ops.constant(np.float32(1000)))
    decoded.set_friendly_name("decoding")
    twice = ops.add(decoded, ops.constant(np.float32(1000)))  # an equal constant
    twice.set_friendly_name("shift")
    return openvino.Model([twice], [images], "network")


def test_what_stays_in_float(model):
    assert set(floating(model)) == {"decoding", "shift"}
    assert set(floating(model, "outputs")) == {"decoding", "shift", "last"}


def test_a_slim_file_is_shorter_and_gives_the_same(model, tmp_path):
    import openvino

    file, weights = save(model, tmp_path / "model.xml")
    image = np.random.default_rng(1).random((1, 3, 16, 16), np.float32)
    told = {"INFERENCE_PRECISION_HINT": "f32"}
    before = openvino.compile_model(file, "CPU", told)(image)[0]
    long, blob = file.read_bytes(), weights.read_bytes()
    slim(file, image)
    assert len(file.read_bytes()) < 0.7 * len(long)
    assert weights.read_bytes() == blob
    np.testing.assert_array_equal(openvino.compile_model(file, "CPU", told)(image)[0], before)
    constants = [text.count(b'type="Const"') for text in (long, file.read_bytes())]
    assert constants[0] - constants[1] == 1  # the two that are equal
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.bin", "model.xml"]


def test_what_cannot_be_slimmed_stays(model, tmp_path, monkeypatch):
    from labkit.deploy.runtimes import openvino_file

    file, _ = save(model, tmp_path / "model.xml")
    long = file.read_bytes()
    monkeypatch.setattr(openvino_file, "_shorten", lambda layer, kept: layer.clear())
    slim(file, np.zeros((1, 3, 16, 16), np.float32))
    assert file.read_bytes() == long
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.bin", "model.xml"]
