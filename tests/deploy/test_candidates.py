from __future__ import annotations

import json

import pytest

from labkit.core.errors import LabError
from labkit.deploy.candidates import Candidate, chosen, control, default_candidates
from labkit.deploy.runtimes.builders import BUILDERS
from labkit.deploy.runtimes.onnx_int8 import OnnxInt8
from labkit.deploy.runtimes.sessions import OPENERS

EVERY = default_candidates(sensitive=["model.2"], bf16=True, nvidia=True)


def test_each_has_a_name_a_builder_a_runtime_and_plain_options():
    assert len({one.name for one in EVERY}) == len(EVERY)
    for one in EVERY:
        assert one.builder in BUILDERS
        assert one.runtime in OPENERS
        assert json.loads(json.dumps(one.build_options)) == one.build_options
        assert json.loads(json.dumps(one.options)) == one.options
        if one.builder == "onnx-int8":
            OnnxInt8.of(dict(one.build_options))


@pytest.mark.parametrize(
    ("able", "name"),
    [({"nvidia": True}, "TensorRT fp16"), ({"bf16": True}, "OpenVINO bf16"),
     ({"bf16": True}, "PyTorch bf16"), ({"sensitive": ["model.2"]}, "ONNX Runtime mixed")],
)  # fmt: skip
def test_what_a_machine_cannot_do_is_not_tried(able, name):
    assert name in [one.name for one in default_candidates(**able)]
    assert name not in [one.name for one in default_candidates()]


def test_they_are_chosen_by_name_or_runtime():
    assert {one.runtime for one in chosen(EVERY, ["openvino"])} == {"openvino"}
    assert [one.name for one in chosen(EVERY, "ONNX Runtime int8")] == ["ONNX Runtime int8"]
    assert chosen(EVERY, None) == list(EVERY)
    with pytest.raises(LabError, match="candidates='OpenVINO in8' is not known: did you mean"):
        chosen(EVERY, ["OpenVINO in8"])


@pytest.mark.parametrize(
    ("precision", "is_float"), [("fp32", True), ("bf16", True), ("int8", False), ("mixed", False)]
)
def test_whether_weights_are_integers(precision, is_float):
    assert Candidate("one", "openvino", precision, "openvino").is_float is is_float


def test_neither_pytorch_nor_a_control_is_deployed():
    (plain,) = chosen(EVERY, "ONNX Runtime int8")
    other = control(plain, "cells")
    assert plain.deploys
    assert not other.deploys
    assert OnnxInt8.of(dict(other.build_options)).ranges == "own-min-max"
    assert not any(one.deploys for one in chosen(EVERY, "torch"))
