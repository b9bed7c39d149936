"""One search of a tiny detector; everything else looks at what it left."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import tempfile

import numpy as np
import psutil
import pytest

from labkit.core.errors import LabError
from labkit.deploy import save_artifact, search
from labkit.deploy.candidates import Candidate, default_candidates
from labkit.vision import open_data, open_detector, predict
from labkit.vision.evaluation import samples
from tests.vision.finetuning import tiny

SIZE = 64
CONVERTS = importlib.util.find_spec("litert_torch") is not None  # not made for every system
NAMES = (
    "PyTorch fp32", "ONNX Runtime fp32", "ONNX Runtime int8", "OpenVINO int8", "LiteRT int8",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    tiny.weights(folder / "start.safetensors", tiny.NEW)
    tiny.data(folder / "data", train=4, val=4)
    tiny.data(folder / "other", names=tiny.OLD, train=2, val=2)
    return folder


@pytest.fixture(scope="module")
def home(place):
    folder = place / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def found(place, home):
    wrong = Candidate("made of nothing", "onnxruntime", "int8", "onnx-int8", {"bitz": 8})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        return search(
            place / "start.safetensors", place / "data", imgsz=SIZE, max_drop=1.0, threads=1,
            rounds=1, burst=2, candidates=[*NAMES[1:], wrong], target="size",
        )  # fmt: skip


def test_every_candidate_has_its_row(found):
    assert [row.name for row in found.rows] == [*NAMES, "made of nothing"]
    for row in found.rows[: -1 if CONVERTS else -2]:
        assert row.problem == ""
        assert row.complete
        assert row.latency.median > 0
        assert row.latency_1.median > 0
        assert row.throughput > 0
        assert row.memory > 1e7
    assert CONVERTS or "see litert.txt" in found["LiteRT int8"].problem
    assert "bitz" in found["made of nothing"].problem
    assert len(found.table()) == 6


def test_int8_is_proven(found):
    for name, nodes in (("ONNX Runtime int8", 100), ("OpenVINO int8", 100), ("LiteRT int8", 10)):
        row = found[name]
        if row.problem and not CONVERTS:
            continue
        assert row.stored > 0.95
        assert row.nodes > nodes
        assert row.integer > 0.8 * row.weighted
    assert found["ONNX Runtime int8"].size < 0.5 * found["ONNX Runtime fp32"].size
    weights = found["OpenVINO int8"].files[1]  # beside the XML, most of so small a network
    assert weights.stat().st_size < 0.4 * found["ONNX Runtime fp32"].size
    assert found["ONNX Runtime fp32"].integer == 0


def test_a_float_file_finds_what_the_network_finds(found):
    assert found["ONNX Runtime fp32"].agreement == 1.0
    assert found["ONNX Runtime fp32"].map == pytest.approx(found["PyTorch fp32"].map, abs=1e-6)


def test_few_calibration_images_are_a_note_with_their_number(found):
    assert any("Only 4 calibration images" in note for note in found.notes)
    assert found.coverage.images == 4
    assert found.coverage.tensors > 100


def test_poor_calibration_is_shown_beside_good_one(place):
    listed = [one for one in default_candidates() if one.name == "ONNX Runtime int8"]
    found = search(
        place / "start.safetensors", place / "data", imgsz=SIZE, max_drop=1.0, threads=1,
        rounds=1, burst=2, candidates=listed, calibration=place / "other", calibration_images=1,
    )  # fmt: skip
    control = found["ONNX Runtime int8, control"]
    assert control.complete
    assert found.chosen.name == "ONNX Runtime int8"  # never the control
    assert found.coverage.source == "other"
    notes = " ".join(found.notes)
    assert "Only 1 calibration image:" in notes
    assert "Calibrated on other, measured on data" in notes
    assert f"calibrated on data give {control.map:.3f}" in notes
    assert control.files[0].read_bytes() != found.chosen.files[0].read_bytes()


def test_nothing_lands_in_the_home_folder(found, home):
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_artifact_runs_in_plain_onnxruntime(place, found, tmp_path):
    import onnxruntime

    chosen = dataclasses.replace(found, chosen=found["ONNX Runtime fp32"])
    file = save_artifact(chosen, tmp_path)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    data = open_data(place / "data")
    detector = open_detector(place / "start.safetensors")
    for path in data.val:
        image = next(
            images for k, images in samples(data, imgsz=SIZE).batches(1) if data.val[k] == path
        )
        boxes = session.run(None, {"images": image.numpy().astype(np.float32) / 255})[0][0]
        (wanted,) = predict(detector, path, imgsz=SIZE, nms=False, confidence=0.0)
        np.testing.assert_allclose(boxes[: len(wanted), 4], wanted.scores, atol=1e-5)


def test_the_chosen_file_runs_as_it_was_measured(place, found, tmp_path):
    file = save_artifact(found, tmp_path)
    boxes = plain_run(file, place)
    measured = np.load(found[found.chosen.name].files[0].parent / "boxes.npy")
    same = boxes.shape == measured.shape and np.abs(boxes[..., 4] - measured[..., 4]).max() < 1e-4
    assert same


def plain_run(file, place):
    """Boxes of the validation images, by the runtime alone."""
    images = np.concatenate(
        [i.numpy() for _, i in samples(open_data(place / "data"), imgsz=SIZE).batches()]
    )
    pixels = images.astype(np.float32) / 255
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"images": one[None]})[0] for one in pixels])
    if file.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(file)).get_signature_runner()
        return np.concatenate([run(args_0=one[None])["output_0"] for one in pixels])
    import openvino

    model = openvino.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([model(one[None])[0] for one in pixels])


@pytest.mark.parametrize("name", ["OpenVINO int8", *["LiteRT int8"] * CONVERTS])
def test_other_files_run_in_their_runtimes_alone(place, found, tmp_path, name):
    row = found[name]
    file = save_artifact(dataclasses.replace(found, chosen=row), tmp_path)
    boxes = plain_run(file, place)
    measured = np.load(row.files[0].parent / "boxes.npy")
    np.testing.assert_allclose(boxes[..., 4], measured[..., 4], atol=1e-4)
    assert b"rt_info" not in file.read_bytes(), "the OpenVINO file is slim"


def test_the_card_names_what_was_searched(place, found, tmp_path):
    save_artifact(found, tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    weights = (place / "start.safetensors").read_bytes()
    assert card["parent"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert card["calibration"]["calibration_sha256"] == open_data(place / "data").sha256
    assert card["calibration"]["calibration_images"] == 4
    assert card["verdict"] == found.verdict.splitlines()
    assert card["verdict"][0].startswith(f"Take {found.chosen.name}: the smallest")
    assert card["machine"]["onnxruntime"]
    assert len(card["candidates"]) == 6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"data": "other"}, "they must be the same"),
        ({"candidates": ["OpenVINO int9"]}, "candidates='OpenVINO int9' is not known"),
    ],
)
def test_mistakes_are_reported_before_any_work(place, arguments, reason):
    reports = []
    data = place / arguments.pop("data", "data")
    with pytest.raises(LabError, match=reason):
        search(place / "start.safetensors", data, on_progress=reports.append, **arguments)
    assert reports == []


def test_a_network_with_one_head_gets_suppression_into_its_files(place, tmp_path):
    weights = tiny.weights(tmp_path / "eleven.safetensors", tiny.NEW, architecture="yolo11n")
    names = ["ONNX Runtime fp32", "OpenVINO fp32", "LiteRT fp32"]
    found = search(
        weights, place / "data", imgsz=SIZE, max_drop=1.0, threads=1, rounds=1, burst=1,
        candidates=names,
    )  # fmt: skip
    wanted = np.load(found["PyTorch fp32"].files[0].parent / "boxes.npy")
    for name in names[:2]:
        boxes = np.load(found[name].files[0].parent / "boxes.npy")
        count = min(boxes.shape[1], wanted.shape[1])
        np.testing.assert_allclose(boxes[:, :count, 4], wanted[:, :count, 4], atol=1e-4)
    reason = "does not support non-maximum suppression" if CONVERTS else "see litert.txt"
    assert reason in found["LiteRT fp32"].problem
    assert found.chosen.name in names[:2]


def test_an_interrupted_search_leaves_no_process_and_no_folder(place, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def report(what):
        if what == "calibration":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(
            place / "start.safetensors", place / "data", imgsz=SIZE, threads=1,
            candidates="onnxruntime", on_progress=report,
        )  # fmt: skip
    commands = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert not [line for line in commands if "labkit.deploy.runtimes.worker" in line]
    assert list(tmp_path.glob("labkit-quantize-*")) == []
