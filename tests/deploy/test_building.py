"""What is built, once and in which order; workers are replaced by some that only take notes."""

from __future__ import annotations

import dataclasses
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from labkit.deploy import building
from labkit.deploy.building import VALIDATION, Building, slug
from labkit.deploy.candidates import Candidate, chosen, control, default_candidates
from labkit.deploy.request import read_request
from labkit.deploy.runtimes.process import WorkerError
from labkit.weights import load
from tests.vision.finetuning import tiny

EVERY = default_candidates()


def named(*names: str) -> list[Candidate]:
    return chosen(EVERY, names)


class Notes:
    """A worker that makes empty files and notes what it was asked."""

    def __init__(self, task, log):
        self.task, self.closed = task, False
        self.made.append(self)

    def ask(self, command, *, timeout, **arguments):
        if self.closed:
            raise WorkerError("it was ended")
        self.commands.append((command, self.task.get("builder", "")))
        if command in self.fail:
            raise WorkerError("it fell over")
        if command != "build":
            return None
        file = Path(self.task["folder"], "model")
        file.write_bytes(b"12345")
        return {"files": [str(file)], "seconds": 0.5}

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture(scope="module")
def request_(tmp_path_factory):
    folder = tmp_path_factory.mktemp("building")
    weights = tiny.weights(folder / "start.safetensors", tiny.NEW)
    data = tiny.data(folder / "data", train=3, val=2)
    return read_request(weights, data, "latency", 0.01, 64, None, 64, None, 1)


@pytest.fixture
def workers(monkeypatch):
    """The class of workers, with notes of its own."""
    one = type("Own", (Notes,), {"made": [], "commands": [], "fail": ()})
    monkeypatch.setattr(building, "Worker", one)
    return one


@pytest.fixture
def made(request_, workers, tmp_path):
    return Building(request_, tmp_path, 60.0, lambda what: None)


def test_images_labels_and_weights_are_files_for_workers(made, request_, tmp_path):
    for name, images in (("given", request_.calibrating), (VALIDATION, request_.validation)):
        wanted = np.concatenate([one.numpy() for _, one in images.batches()])
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), wanted)
    assert (tmp_path / "truth.json").is_file()
    tensors = load(tmp_path / "weights.safetensors").tensors
    assert tensors.keys() == request_.detector.tensors.keys()


def test_equal_builds_and_steps_are_done_once(made, workers):
    listed = named("ONNX Runtime fp32", "ONNX Runtime int8", "ONNX Runtime int8 per tensor")
    again = Candidate("the same", "onnxruntime", "fp32", "onnx")
    rows = made.build([*listed, again])
    assert [row.name for row in rows] == [one.name for one in [*listed, again]]
    assert sorted(workers.commands) == [
        ("build", "onnx"), ("build", "onnx-int8"), ("build", "onnx-int8"),
        ("export", ""), ("observe", ""), ("observe", ""),
    ]  # fmt: skip
    assert rows[0].files == rows[3].files
    assert all((row.size, row.seconds, row.problem) == (5, 0.5, "") for row in rows)
    assert all(worker.closed for worker in workers.made)


def test_nothing_is_exported_for_pytorch_alone(made, workers):
    made.build(named("PyTorch fp32"))
    assert workers.commands == [("build", "torch")]


def test_each_method_and_each_source_of_images_is_calibrated_once(made, request_):
    made.add_images("own", request_.control())
    listed = named("ONNX Runtime int8", "ONNX Runtime int8 percentile", "OpenVINO int8")
    found = made._calibrations([*listed, control(listed[0], "cells")])
    assert found == {
        "min-max": ("min-max", "given"),
        "percentile": ("percentile", "given"),
        "own-min-max": ("min-max", "own"),
        VALIDATION: ("min-max", VALIDATION),
    }
    assert made._calibrations(named("ONNX Runtime fp32", "OpenVINO fp16")) == {}


@pytest.mark.parametrize(
    ("step", "what", "spared"),
    [
        ("export", "export to ONNX", ["PyTorch fp32", "LiteRT fp32"]),
        ("convert", "conversion for LiteRT",
         ["PyTorch fp32", "ONNX Runtime fp32", "ONNX Runtime int8", "OpenVINO int8"]),
        ("observe", "calibration",
         ["PyTorch fp32", "ONNX Runtime fp32", "OpenVINO int8", "LiteRT fp32"]),
    ],
)  # fmt: skip
def test_a_step_that_fails_is_the_problem_of_those_that_need_it(made, workers, step, what, spared):
    workers.fail = (step,)
    rows = made.build(
        named("PyTorch fp32", "ONNX Runtime fp32", "ONNX Runtime int8", "OpenVINO int8",
              "LiteRT fp32")
    )  # fmt: skip
    assert [row.name for row in rows if not row.problem] == spared
    assert {row.problem for row in rows if row.problem} == {f"{what} failed: it fell over"}


def test_a_build_that_fails_is_its_own_problem(made, workers):
    workers.fail = ("build",)
    (row,) = made.build(named("PyTorch fp32"))
    assert (row.problem, row.files, row.complete) == ("it fell over", (), False)


def test_unknown_options_reach_the_builder_which_refuses_them(made, workers):
    made.build([Candidate("mine", "onnxruntime", "int8", "onnx-int8", {"bitz": 8})])
    assert ("build", "onnx-int8") in workers.commands


def test_ranges_are_files_that_exist(made, tmp_path):
    assert made.ranges("min-max") is None
    (tmp_path / "min-max.json").write_text("{}")
    assert made.ranges("min-max") == tmp_path / "min-max.json"


def test_an_interrupted_build_starts_no_worker_any_more(request_, workers, monkeypatch, tmp_path):
    """A thread that was just about to start one, when all that ran were ended."""
    ended = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            if wait:  # the workers that are known have been closed
                ended.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def report(what):
        if what.endswith("PyTorch fp32"):
            started.wait(30)
            raise KeyboardInterrupt
        started.set()
        assert ended.wait(30)

    started = threading.Event()
    monkeypatch.setattr(building, "ThreadPoolExecutor", Pool)
    one = Building(dataclasses.replace(request_, threads=2), tmp_path, 60.0, report)
    other = Candidate("late", "torch", "bf16", "torch", {"dtype": "bfloat16"})
    with pytest.raises(KeyboardInterrupt):
        one.build([other, *named("PyTorch fp32")])  # the last is built first
    (late,) = workers.made
    assert late.task["build_options"] == {"dtype": "bfloat16"}
    assert workers.commands == []  # it was ended before it had anything to do


@pytest.mark.parametrize("name", ["ONNX Runtime int8, control", "a/b\\c:d", "../up", "Ä ö"])
def test_slugs_are_names_of_folders_in_the_folder(name, tmp_path):
    folder = tmp_path / slug(name)
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()
    assert os.sep not in slug(name)
