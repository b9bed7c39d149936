"""The command `labkit quantize`."""

from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner

from labkit import deploy
from labkit.cli import main
from labkit.deploy.candidates import Candidate
from labkit.deploy.choice import Choice, Measured
from labkit.deploy.latency import Latency
from tests.vision.finetuning import tiny


@pytest.fixture
def searched(monkeypatch, tmp_path):
    """What the command passes to a search that has found one file."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"a file")
    row = Measured(
        Candidate("the one", "onnxruntime", "int8", "onnx-int8"),
        (file,), 6, Latency(1.0, 2.0, 9), map=0.5, map50=0.7,
    )  # fmt: skip
    about = dict.fromkeys(
        ("weights", "weights_sha256", "imgsz", "data", "data_sha256", "validation_images",
         "calibration", "calibration_sha256", "calibration_images"), "x",
    )  # fmt: skip
    about["names"] = {"0": "cell"}
    found = Choice((row,), row, row, "latency", 0.01, 2, {}, about, verdict="Take the one.")
    asked = {}

    def search(weights, **options):
        asked.update(options, weights=weights)
        options["on_progress"]("working")
        return dataclasses.replace(found, chosen=asked.get("chosen", row))

    monkeypatch.setattr(deploy, "search", search)
    return asked


def test_it_prints_the_verdict_and_writes_the_artifact(searched, tmp_path):
    out = tmp_path / "deploy"
    line = ["quantize", "my.pt", "--data", "cells", "--target", "size", "--max-drop", "0.02",
            "--candidate", "openvino", "--out", str(out)]  # fmt: skip
    ran = CliRunner().invoke(main, line)
    assert ran.exit_code == 0, ran.output
    assert "Take the one" in ran.output
    assert (out / "model.onnx").read_bytes() == b"a file"
    assert (out / "card.md").is_file()
    assert searched["weights"] == "my.pt"
    assert (searched["target"], searched["max_drop"]) == ("size", 0.02)
    assert searched["candidates"] == ("openvino",)


def test_without_a_choice_nothing_is_written(searched, tmp_path):
    searched["chosen"] = None
    out = tmp_path / "deploy"
    ran = CliRunner().invoke(main, ["quantize", "my.pt", "--data", "cells", "--out", str(out)])
    assert ran.exit_code == 1
    assert "nothing was written" in ran.output
    assert not out.exists()


def test_a_file_in_the_way_is_refused_before_the_search(searched, tmp_path):
    out = tmp_path / "file"
    out.write_text("mine")
    line = ["quantize", "my.pt", "--data", "cells", "--out", str(out / "deploy")]
    ran = CliRunner().invoke(main, line)
    assert (ran.exit_code, searched) == (1, {})
    assert f"{out} is a file: give a folder" in ran.output


def test_a_mistake_is_one_line(tmp_path):
    weights = tiny.weights(tmp_path / "w.safetensors", tiny.OLD)
    data = tiny.data(tmp_path / "data", train=1, val=1)
    ran = CliRunner().invoke(main, ["quantize", str(weights), "--data", str(data)])
    assert ran.exit_code == 1
    assert "they must be the same" in ran.output
    assert "Traceback" not in ran.output
