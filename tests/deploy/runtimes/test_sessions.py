from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.deploy.runtimes import sessions
from labkit.deploy.runtimes.openvino_int8 import convert, save
from labkit.deploy.runtimes.sessions import open_session
from labkit.vision import open_detector
from labkit.vision.detector import one_head
from tests.deploy.runtimes import small
from tests.vision.finetuning import tiny


@pytest.fixture
def files(network, tmp_path):
    return {
        "onnxruntime": network / "base.onnx",
        "openvino": save(convert(network / "base.onnx"), tmp_path / "model.xml")[0],
    }


@pytest.fixture
def keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("runtime", "options"),
    [("onnxruntime", {}), ("openvino", {"INFERENCE_PRECISION_HINT": "f32"})],
)
def test_a_session_computes_what_the_file_says(network, files, runtime, options):
    session = open_session(runtime, files[runtime], threads=2, options=options)
    values = small.images(network)
    found = np.concatenate([session(one[None]) for one in values])
    wanted = small.layers(values)["output0"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_answers_are_not_overwritten_by_the_next(network, files):
    values = small.images(network)
    for runtime, file in files.items():
        session = open_session(runtime, file)
        first = session(values[:1])
        kept = first.copy()
        session(values[1:2])
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(("options", "atol"), [({}, 1e-4), ({"autocast": "bfloat16"}, 0.1)])
def test_weights_in_pytorch(tmp_path, keep_threads, options, atol):
    weights = tiny.measured(tmp_path / "w.safetensors")
    session = open_session("torch", weights, threads=1, options=options)
    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    with torch.inference_mode():
        network = one_head(open_detector(weights).model, nms=False)
        wanted = network(torch.from_numpy(image))[0].numpy()
    found = session(image)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found[0, :5, 4], wanted[0, :5, 4], atol=atol)  # best first
    assert bool(options) is not np.allclose(found[0, :5, 4], wanted[0, :5, 4], atol=1e-4)


def test_threads_are_set_again_on_another_thread(tmp_path, keep_threads):
    session = open_session("torch", tiny.weights(tmp_path / "w.safetensors"), threads=1)
    torch.set_num_threads(2)  # as a new thread finds it
    session(np.zeros((1, 3, 64, 64), np.float32))
    assert torch.get_num_threads() == 1


def test_tensorrt_is_a_provider_of_onnxruntime(monkeypatch):
    import onnxruntime

    with pytest.raises(RuntimeError, match="this ONNX Runtime has no TensorRT"):
        open_session("tensorrt", "model.onnx", options={"fp16": True})
    opened = []
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"]
    )
    monkeypatch.setattr(sessions, "OnnxRuntimeSession", lambda *asked: opened.append(asked))
    open_session("tensorrt", "model.onnx", threads=4, options={"fp16": True})
    provider = ("TensorrtExecutionProvider", {"trt_fp16_enable": True})
    assert opened == [("model.onnx", 4, (provider,))]
