from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch

from labkit.deploy.runtimes.export import deployed
from labkit.deploy.runtimes.litert import WEIGHTED, convert, floating, operations, quantize
from labkit.deploy.runtimes.proof import proof
from labkit.deploy.runtimes.sessions import LiteRtSession
from labkit.weights.save import save
from tests.quantize import networks
from tests.vision.finetuning import tiny

SIZE = 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert")
    found = networks.settled(folder)
    plain = {"architecture": "yolo26n", "yaml": found.weights.yaml, "task": "detect"}
    names = {str(k): name for k, name in found.names.items()}
    return save(folder / "settled.safetensors", found.tensors, names=names, **plain)


@pytest.fixture(scope="module")
def files(weights):
    pytest.importorskip("litert_torch", reason="the converter is not made for every system")
    floating, integer = weights.with_name("float.tflite"), weights.with_name("int8.tflite")
    convert(weights, SIZE, floating)
    quantize(floating, images(), integer)
    return floating, integer


def images():
    return np.random.default_rng(0).integers(0, 256, (4, 3, SIZE, SIZE), np.uint8)


def test_the_float_file_computes_what_the_network_does(weights, files):
    network, session = deployed(weights), LiteRtSession(str(files[0]), threads=1)
    for image in images()[:, None].astype(np.float32) / 255:
        with torch.inference_mode():
            wanted = network(torch.from_numpy(image)).numpy()
        found = session(image)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found[..., 4], wanted[..., 4], atol=1e-4)  # best first


def test_the_int8_file_stores_integers_and_decodes_in_float(files):
    shares = [proof("litert", file, None) for file in files]
    assert shares[0]["stored"] == shares[0]["integer"] == 0
    assert shares[1]["stored"] > 0.95
    assert shares[1]["integer"] == shares[1]["weighted"] == shares[0]["weighted"]
    every, tensors = operations(files[1])
    kinds = {
        name: {tensors[one.outputs[0]]["dtype"] for one in every if one.name == name}
        for name in (*WEIGHTED, "TOPK_V2", "GATHER_ND")
    }
    assert kinds["CONV_2D"] == {np.int8}
    assert kinds["TOPK_V2"] == {np.float32}, "boxes are chosen by their scores in float"
    assert any(one.name == "DEQUANTIZE" for one in every)
    first = images()[:1].astype(np.float32) / 255
    best = [LiteRtSession(str(file), 1)(first)[0, :5, 4] for file in files]
    np.testing.assert_allclose(*np.log(best), atol=0.7)  # untrained: all scores are small


def test_what_only_decodes_is_named_by_its_outputs(files):
    every, tensors = operations(files[0])
    found = floating(files[0])
    last = "".join(f"{tensors[number]['name']};" for number in every[-1].outputs)
    assert any(re.search(pattern, last) for pattern in found)
    convolutions = [one for one in every if one.name == "CONV_2D"]
    for one in convolutions:
        scope = "".join(f"{tensors[number]['name']};" for number in one.outputs)
        assert not any(re.search(pattern, scope) for pattern in found)


def test_without_the_converter_its_absence_is_told(weights, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(RuntimeError, match=r"litert_torch.* is not installed: see litert.txt"):
        convert(weights, SIZE, tmp_path / "one.tflite")


def test_a_network_that_needs_suppression_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("litert_torch", reason="the converter is not made for every system")
    monkeypatch.setattr("labkit.deploy.runtimes.export.end_to_end", lambda network: False)
    with pytest.raises(RuntimeError, match="does not support non-maximum suppression"):
        convert(tiny.weights(tmp_path / "one.safetensors"), SIZE, tmp_path / "one.tflite")
