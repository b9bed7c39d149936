"""Fine-tuning runs: equal to Ultralytics' own, deterministic, and safe from kills."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest
import torch

from labkit.core.errors import FileError, LabError
from labkit.training.history import History
from labkit.vision.data import open_data
from labkit.vision.detector import open_detector
from labkit.vision.evaluation import evaluate
from labkit.vision.finetuning import checkpoint, finetune, open_run, resume, run
from labkit.vision.finetuning.run_folder import RunFolder
from labkit.vision.finetuning.transfer import build
from labkit.weights.load import load
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Weights and data."""
    folder = tmp_path_factory.mktemp("made")
    return tiny.weights(folder / "old.safetensors"), tiny.data(folder / "data")


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """A run that nobody disturbed, and what it reported."""
    folder, reported = tmp_path_factory.mktemp("whole"), {"steps": [], "epochs": [], "used": []}
    out = finetune(
        tiny.spec(*made, freeze=3),
        folder=folder / "run",
        on_start=reported["used"].append,
        on_step=reported["steps"].append,
        on_epoch=reported["epochs"].append,
    )
    return out, reported


def same(one: Path, other: Path) -> bool:
    mine, theirs = load(one).tensors, load(other).tensors
    return list(mine) == list(theirs) and all(torch.equal(mine[n], theirs[n]) for n in mine)


# --- what a run tells and leaves -------------------------------------------------------


def test_it_tells_every_step_and_epoch(whole):
    out, reported = whole
    assert [record.step for record in reported["steps"]] == [1, 2, 3, 4, 5, 6]
    assert [record.epoch for record in reported["steps"]] == [1, 1, 1, 2, 2, 2]
    assert reported["steps"][0].steps == 6
    for record in reported["steps"]:
        assert record.loss == pytest.approx(sum(record.parts.values()))
        assert (record.updates is not None) == (record.step % 2 == 0)
    updates = reported["steps"][1].updates
    assert updates["0"] == updates["2"] == 0
    assert updates["22"] > 0
    assert [record.epoch for record in reported["epochs"]] == [0, 1, 2]
    assert reported["epochs"] == out.epochs
    first = [record.loss for record in reported["steps"][:3]]
    assert out.epochs[1].loss == pytest.approx(sum(first) / 3, rel=1e-4)
    assert reported["used"] == [out.used]


def test_the_settings_are_those_of_the_optimizer(whole):
    out, reported = whole
    used = out.used
    assert (used.optimizer, used.lr, used.betas, used.weight_decay) == (
        "AdamW",
        0.002,
        (0.9, 0.999),
        0.0005,
    )
    assert (used.batch, used.steps, used.images, used.device) == (4, 6, 10, "cpu")
    assert used.frozen_parameters > 0
    assert reported["steps"][0].lr == pytest.approx(0.002)  # no warm-up
    assert reported["steps"][-1].lr == pytest.approx(0.002 * (0.5 * 0.99 + 0.01))  # half-way down


def test_the_files_are_what_they_say(whole, made):
    out, _ = whole
    names = sorted(str(p.relative_to(out.folder)) for p in out.folder.rglob("*") if p.is_file())
    assert names == [
        "args.yaml",
        "history.safetensors",
        "run.json",
        "state.safetensors",
        "weights/best.safetensors",
        "weights/first.safetensors",
        "weights/last.safetensors",
    ]
    for path, record in ((out.best, out.best_epoch), (out.last, out.epochs[-1])):
        detector = open_detector(path)
        assert list(detector.names.values()) == list(tiny.NEW)
        found = evaluate(detector, open_data(made[1]), imgsz=64)
        assert found.map == pytest.approx(record.map)
    assert load(out.last).about["epoch"] == 2
    steps, losses = History.load(out.folder / "history.safetensors").curve("loss")
    assert len(steps) == len(losses) == 6


def test_a_run_can_be_opened_again(whole):
    out, _ = whole
    again = open_run(out.folder)
    assert str(again.epochs) == str(out.epochs)  # as text: NaN does not equal itself
    assert (again.used, again.transfer, again.freeze, again.names) == (
        out.used,
        out.transfer,
        out.freeze,
        out.names,
    )
    assert again.summary() == out.summary()
    assert again.finished
    assert resume(out.folder).summary() == out.summary()  # nothing is left to do


def test_frozen_layers_are_bit_for_bit_the_same(whole, made):
    out, _ = whole
    old, new = load(made[0]).tensors, load(out.last).tensors
    frozen = [name for name in new if name.startswith(("model.0.", "model.1.", "model.2."))]
    assert out.freeze.held
    assert sorted(out.freeze.before) == sorted(frozen)
    assert any("running_mean" in name for name in frozen)
    assert all(torch.equal(old[name].to(new[name].dtype), new[name]) for name in frozen)
    assert not torch.equal(old["model.3.conv.weight"], new["model.3.conv.weight"])


def test_statistics_of_frozen_layers_move_where_they_may(made, tmp_path):
    spec = tiny.spec(*made, freeze=3, freeze_statistics=False, epochs=1)
    out = finetune(spec, folder=tmp_path / "run")
    assert not out.freeze.held
    assert out.freeze.moved == out.freeze.moved_statistics
    assert "model.0.bn.running_mean" in out.freeze.moved
    assert "freeze_statistics=true" in str(out.freeze)


def test_it_trains_as_ultralytics_does(made, tmp_path):
    """The oracle: `DetectionTrainer` with the same arguments, weights and random numbers."""
    from labkit.core.ultralytics import silent, ultralytics
    from labkit.vision.finetuning.settings import settings
    from labkit.vision.finetuning.trainer import FineTuner

    ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer

    # Not Adam: it makes whole steps of gradients that are nothing but rounding.
    spec = tiny.spec(*made, epochs=1, freeze_layers=(1,), optimizer="sgd", lr=0.002)
    start, data = open_detector(spec.weights), open_data(spec.data)
    network, _ = build(start, data.names, seed=spec.seed)
    theirs: dict[str, torch.Tensor] = {}
    losses: list[float] = []

    class Stock(DetectionTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            return network

        def run_callbacks(self, event):
            if event == "on_train_epoch_start":
                self.spec = spec
                FineTuner._seed_epoch(self)
            elif event == "on_train_batch_end":
                losses.append(float(sum(self.loss_items.values())))
            elif event == "on_train_end":
                theirs.update(self.ema.ema.state_dict())

    with silent(), run.own_randomness():
        stock = Stock(overrides={**settings(spec, tmp_path / "stock"), "data": str(made[1])})
        stock.validate = lambda: ({}, 0.0)
        stock.save_model = stock.final_eval = lambda: None
        stock.train()
    torch.set_num_threads(1)
    mine: list[float] = []
    out = finetune(spec, folder=tmp_path / "run", on_step=lambda step: mine.append(step.loss))
    assert mine == pytest.approx(losses, rel=1e-3)
    ours = load(out.last).tensors
    first = load(out.folder / checkpoint.FIRST).tensors
    names = [name for name, tensor in ours.items() if tensor.dtype.is_floating_point]

    def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([tensors[name].detach().reshape(-1) for name in names])

    assert (flat(ours) - flat(theirs)).norm() < 0.03 * (flat(theirs) - flat(first)).norm()


# --- determinism, stopping, going on ---------------------------------------------------


def test_equal_specs_give_equal_weights_in_any_thread(whole, made, tmp_path):
    out, _ = whole
    found = []

    def work() -> None:
        found.append(finetune(out.spec, folder=tmp_path / "again"))

    before = torch.get_rng_state()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert same(found[0].last, out.last)
    assert torch.equal(before, torch.get_rng_state())
    other = finetune(out.spec.replace(seed=1, epochs=1), folder=tmp_path / "other")
    assert not same(other.folder / "weights/first.safetensors", out.folder / checkpoint.FIRST)


def test_a_stopped_run_keeps_its_epochs_and_goes_on(whole, tmp_path):
    out, _ = whole
    stop = threading.Event()
    stopped = finetune(
        out.spec,
        folder=tmp_path / "run",
        stop=stop,
        on_step=lambda record: stop.set() if record.step == 5 else None,
    )
    assert stopped.stopped
    assert not stopped.finished
    assert [record.epoch for record in stopped.epochs] == [0, 1]
    assert open_run(tmp_path / "run").stopped
    again = resume(tmp_path / "run")
    assert again.finished
    assert not again.stopped
    assert same(again.last, out.last)
    assert list(again.history.curve("loss")[1]) == pytest.approx(
        list(out.history.curve("loss")[1])[:3] + list(again.history.curve("loss")[1])[3:]
    )
    assert again.history.last_step == 6


@pytest.mark.parametrize("moment", ["a step", "the best weights", "the state", "the end"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(whole, tmp_path, monkeypatch, moment):
    out, _ = whole

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    hooks = {}
    if moment == "a step":
        hooks["on_step"] = lambda record: kill() if record.step == 5 else None
    with monkeypatch.context() as patch:
        calls = []

        def at(owner: object, name: str, number: int) -> None:
            real = getattr(owner, name)

            def counted(*args: object, **named: object) -> object:
                calls.append(name)
                return kill() if len(calls) == number else real(*args, **named)

            patch.setattr(owner, name, counted)

        if moment == "the best weights":
            at(RunFolder, "write_weights", 2)
        elif moment == "the state":
            at(checkpoint, "write_state", 3)
        elif moment == "the end":
            at(RunFolder, "end", 1)
        with pytest.raises(Killed):
            finetune(out.spec, folder=tmp_path / "run", **hooks)
    with pytest.raises(FileError, match="resume"):
        open_run(tmp_path / "run")
    again = resume(tmp_path / "run")
    assert same(again.last, out.last)
    assert same(again.best, out.best)
    assert [(r.epoch, r.map) for r in again.epochs] == [(r.epoch, r.map) for r in out.epochs]
    assert again.freeze == out.freeze


def test_what_is_missing_is_said(whole, made, tmp_path):
    out, _ = whole
    with pytest.raises(FileError, match="is not there"):
        resume(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"run\.json"):
        resume(tmp_path / "empty")

    def copy(name: str) -> Path:
        import shutil

        folder = Path(shutil.copytree(out.folder, tmp_path / name))
        facts = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**facts, "status": "running"}))
        return folder

    cut = copy("cut")
    whole_state = (cut / "state.safetensors").read_bytes()
    (cut / "state.safetensors").write_bytes(whole_state[: len(whole_state) // 2])
    with pytest.raises(FileError, match=r"state\.safetensors is cut short or damaged"):
        resume(cut)
    bare = copy("bare")
    (bare / "weights/first.safetensors").unlink()
    with pytest.raises(FileError, match=r"first\.safetensors"):
        resume(bare)
    other = copy("other")
    facts = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**facts, "data_sha256": "0"}))
    with pytest.raises(LabError, match="no longer"):
        resume(other)


# --- what goes wrong -------------------------------------------------------------------


def test_divergence_ends_with_a_finding(made, tmp_path, monkeypatch):
    from labkit.vision.finetuning.network import TrainedDetector

    real, calls = TrainedDetector.loss, []

    def loss(self, batch, preds=None):
        calls.append(1)
        if len(calls) == 5:  # the second step of the second epoch
            with torch.no_grad():
                self.model[4].cv1.conv.weight.fill_(torch.inf)
        return real(self, batch, preds)

    monkeypatch.setattr(TrainedDetector, "loss", loss)
    spec = tiny.spec(*made, epochs=3, lr=0.004)
    out = finetune(spec, folder=tmp_path / "run")
    assert out.finding.kind == "diverged"
    assert out.finding.evidence["step"] == 5
    assert out.finding.evidence["last_good_step"] == 4
    assert out.finding.evidence["layer"] == "model.4.cv1.conv"
    assert out.finding.changes == {"lr": pytest.approx(0.0004)}
    assert [record.epoch for record in out.epochs] == [0, 1]
    assert all(torch.isfinite(t).all() for t in load(out.best).tensors.values())
    assert open_run(tmp_path / "run").finding == out.finding
    assert "finding" in out.summary()


def test_a_full_disk_names_the_path_and_leaves_the_checkpoint(whole, tmp_path, monkeypatch):
    out, _ = whole
    import labkit.core.files

    folder = tmp_path / "run"

    class Full:
        """A file on a disk that is full after the first epoch."""

        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> "Full":
            self.file.__enter__()
            return self

        def __exit__(self, *problem: object) -> None:
            self.file.__exit__(*problem)

        def write(self, content: bytes) -> None:
            self.file.write(content[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.fdopen

    def fill(record: object) -> None:
        if record.step == 4:
            monkeypatch.setattr(
                labkit.core.files.os, "fdopen", lambda *args, **named: Full(real(*args, **named))
            )

    with pytest.raises(LabError) as error:
        finetune(out.spec, folder=folder, on_step=fill)
    monkeypatch.undo()
    assert str(folder) in str(error.value)
    assert "No space left on device" in str(error.value)
    assert "epoch 1 is intact" in str(error.value)
    assert not [path for path in folder.rglob(".*") if path.is_file()]  # no half file
    again = resume(folder)
    assert same(again.last, out.last)


def test_nothing_is_written_elsewhere(made, tmp_path, monkeypatch, capfd):
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir(), home.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    data = made[1].parent
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    out = finetune(tiny.spec(*made, epochs=1))
    finetune(tiny.spec(*made, epochs=1, pretrained=False))
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    assert list(here.rglob("*")) == []
    assert list(home.rglob("*")) == []
    assert out.folder.parent == tmp_path / "runs"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "data-old-1",
        "data-old-scratch-1",
    ]
    assert capfd.readouterr() == ("", "")
    assert not torch.are_deterministic_algorithms_enabled()


def test_mistakes_are_reported_before_anything_is_trained(made, tmp_path):
    start, data = made
    label = next((data.parent / "labels" / "train").glob("*.txt"))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "something").write_text("")
    with pytest.raises(LabError, match="not empty"):
        finetune(tiny.spec(start, data), folder=tmp_path / "used")
    with pytest.raises(FileError, match="nothing"):
        finetune(tiny.spec(start, "nothing"), folder=tmp_path / "a")
    with pytest.raises(LabError, match="freeze=23"):
        finetune(tiny.spec(start, data, freeze=24), folder=tmp_path / "a")
    with pytest.raises(LabError, match="pretrained=true"):
        finetune(
            tiny.spec(start, data, pretrained=False, remember=str(data)), folder=tmp_path / "a"
        )
    kept = label.read_text()
    try:
        label.write_text("7 0.5 0.5 0.1 0.1\n")
        with pytest.raises(LabError, match=rf"{label.name}:1"):
            finetune(tiny.spec(start, data), folder=tmp_path / "a")
    finally:
        label.write_text(kept)
    assert not (tmp_path / "a").exists()


def test_auto_is_read_back(made, tmp_path):
    out = finetune(tiny.spec(*made, epochs=1, optimizer="auto", lr=0.5), folder=tmp_path / "run")
    assert out.used.optimizer in ("AdamW", "MuSGD")
    assert out.used.lr != 0.5
    assert any("lr=0.5" in note and "ignored" in note for note in out.used.notes)


@pytest.mark.parametrize("optimizer", ["sgd", "musgd", "rmsprop"])
def test_the_optimizer_is_the_one_that_was_asked_for(made, tmp_path, optimizer):
    spec = tiny.spec(*made, epochs=1, optimizer=optimizer, lr=1e-3, momentum=0.8, batch=10)
    used = finetune(spec, folder=tmp_path / "run").used
    assert used.optimizer.lower() == optimizer
    assert used.lr == pytest.approx(1e-3)
    assert used.momentum == pytest.approx(0.8)
