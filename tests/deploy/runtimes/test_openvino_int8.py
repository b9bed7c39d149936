from __future__ import annotations

import numpy as np
import pytest

from labkit.deploy.runtimes.openvino_int8 import convert, floating, quantize, save
from labkit.deploy.runtimes.sessions import OpenVinoSession
from tests.deploy.runtimes import small


def test_what_stays_in_float(model):
    assert set(floating(model)) == {"decoding", "shift"}
    assert set(floating(model, "outputs")) == {"decoding", "shift", "last"}


def test_sigmoid_and_product_become_one_swish(network):
    kinds = [operation.get_type_name() for operation in convert(network / "base.onnx").get_ops()]
    assert "Swish" in kinds
    assert "Sigmoid" not in kinds


@pytest.mark.parametrize("preset", ["mixed", "performance"])
def test_int8_is_nearly_the_same(network, tmp_path, preset):
    images = np.load(network / "images.npy")
    file, _ = save(quantize(network / "base.onnx", images, preset=preset), tmp_path / "model.xml")
    session = OpenVinoSession(str(file), 1, INFERENCE_PRECISION_HINT="f32")
    values = small.images(network)
    wanted = small.layers(values)["output0"]
    found = np.concatenate([session(one[None]) for one in values])
    error = np.square(found - wanted).mean() / np.square(wanted).mean()
    assert 0 < error < 1e-3
