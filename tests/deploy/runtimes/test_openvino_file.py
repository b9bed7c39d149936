from __future__ import annotations

import numpy as np

from labkit.deploy.runtimes import openvino_file
from labkit.deploy.runtimes.openvino_file import slim
from labkit.deploy.runtimes.openvino_int8 import save


def test_a_slim_file_is_shorter_and_gives_the_same(model, tmp_path):
    import openvino

    file, weights = save(model, tmp_path / "model.xml")
    image = np.random.default_rng(1).random((1, 3, 16, 16), np.float32)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    before = openvino.compile_model(file, "CPU", settings)(image)[0]
    long, blob = file.read_bytes(), weights.read_bytes()
    slim(file, image)
    assert len(file.read_bytes()) < 0.7 * len(long)
    assert weights.read_bytes() == blob
    np.testing.assert_array_equal(openvino.compile_model(file, "CPU", settings)(image)[0], before)
    constants = [text.count(b'type="Const"') for text in (long, file.read_bytes())]
    assert constants[0] - constants[1] == 1  # the two that are equal
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.bin", "model.xml"]


def test_what_cannot_be_slimmed_stays(model, tmp_path, monkeypatch):
    file, _ = save(model, tmp_path / "model.xml")
    long = file.read_bytes()
    monkeypatch.setattr(openvino_file, "_shorten", lambda layer, kept: layer.clear())
    slim(file, np.zeros((1, 3, 16, 16), np.float32))
    assert file.read_bytes() == long
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.bin", "model.xml"]
