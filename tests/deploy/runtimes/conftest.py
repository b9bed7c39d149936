from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit.deploy.runtimes.calibration import observe
from tests.deploy.runtimes import small


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Path:
    """A folder with a small network, images, and the ranges of its tensors."""
    folder = small.write(tmp_path_factory.mktemp("onnx"))
    observe(folder / "base.onnx", folder / "images.npy", "min-max", folder / "min-max.json")
    return folder


@pytest.fixture(scope="session")
def model() -> Any:
    """OpenVINO's: a convolution, its activation, another convolution, and a decoding."""
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
