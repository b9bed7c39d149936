from __future__ import annotations

import math
import os
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from labkit.core.errors import FileError
from labkit.training import recording as module
from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step
from labkit.training.statistics import QUANTILES, STATISTICS

LAYOUT = Layout(("layer.weight", "layer.bias", "scale"), ((4, 3), (4,), (1,)))


@pytest.fixture(params=[3, 8, 1024], ids="stage of {}".format)
def stage(request, monkeypatch):
    """Rings that wrap within a test, and one that does not; chunks of two rows."""
    monkeypatch.setattr(module, "_STAGE_STEPS", request.param)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 2 * 4 * LAYOUT.total)
    return request.param


def random_walk(steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights and gradients `(steps + 1, total)`; no gradient at step 0."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(steps + 1, LAYOUT.total)).astype(np.float32)
    gradients[0] = 0
    weights = np.cumsum(rng.normal(size=gradients.shape), axis=0).astype(np.float32)
    return weights, gradients


def record(history: History, weights: np.ndarray, gradients: np.ndarray, read=lambda step: None):
    """Enter rows as steps that follow the last one."""
    recorder = Recorder(history)
    for w, g in zip(weights, gradients, strict=True):
        number = len(history)
        due = number % 5 == 0
        recorder.record(
            Step(number, 1 / (number + 1), 0.1, *((2.0, 0.5, 3.0, 0.25 * number) if due else ())),
            w,
            g,
        )
        read(number)
    return history


def read_all(history: History) -> dict[str, np.ndarray]:
    """All that can be read from a history, by name."""
    found = {"flat": history.flat(), "stride": np.array(history.stride)}
    for name in ("loss", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        found[f"{name} steps"], found[name] = history.curve(name)
    for tensor in history.layout.names:
        for name in STATISTICS:
            found[f"{tensor} {name} steps"], found[f"{tensor} {name}"] = history.statistic(
                name, tensor
            )
        found[f"{tensor} quantile steps"], found[f"{tensor} quantiles"] = history.quantiles(tensor)
    found["snapshot steps"], found["snapshots"] = history.snapshots()
    return found


def assert_same(one: History, other: History) -> None:
    """All that can be read is the same, to the last bit."""
    ours, theirs = read_all(one), read_all(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def by_numpy(weights: np.ndarray, gradients: np.ndarray) -> dict[str, np.ndarray]:
    """STATISTICS of one tensor, one step at a time, in float64."""
    weights, gradients = weights.astype(np.float64), gradients.astype(np.float64)
    found: dict[str, list[float]] = {name: [] for name in STATISTICS}
    before = weights[0]
    for w, g in zip(weights, gradients, strict=True):
        found["mean"].append(np.mean(w))
        found["std"].append(np.std(w))
        found["min"].append(np.min(w))
        found["max"].append(np.max(w))
        found["norm"].append(np.linalg.norm(w))
        found["gradient_norm"].append(np.linalg.norm(g))
        size = np.linalg.norm(before)
        found["update_ratio"].append(np.linalg.norm(w - before) / size if size else np.nan)
        found["distance"].append(np.linalg.norm(w - weights[0]))
        before = w
    return {name: np.array(values) for name, values in found.items()}


# --- statistics ------------------------------------------------------------------------


def test_an_unknown_tensor_is_answered_with_the_known_ones():
    history = record(History(LAYOUT), *random_walk(1))
    for read in (
        LAYOUT.span,
        history.quantiles,
        history.snapshots,
        lambda name: history.statistic("mean", name),
    ):
        with pytest.raises(KeyError, match=r"no tensor 'bias'; there are layer\.weight"):
            read("bias")


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 8, 9, 24, 50])
def test_statistics_are_numpys(stage, steps):
    weights, gradients = random_walk(steps)
    history = record(History(LAYOUT), weights, gradients)
    for tensor in LAYOUT.names:
        span = LAYOUT.span(tensor)
        expected = by_numpy(weights[:, span], gradients[:, span])
        for name in STATISTICS:
            numbers, values = history.statistic(name, tensor)
            assert numbers.tolist() == list(range(steps + 1))
            np.testing.assert_allclose(
                values, expected[name], rtol=2e-5, atol=2e-6, err_msg=f"{name} of {tensor}"
            )


@pytest.mark.parametrize("steps", [0, 1, 9, 50])
def test_quantiles_are_numpys(stage, steps):
    weights, gradients = random_walk(steps)
    history = record(History(LAYOUT), weights, gradients)
    assert QUANTILES == (0.05, 0.25, 0.5, 0.75, 0.95)
    for tensor in LAYOUT.names:
        numbers, values = history.quantiles(tensor)
        assert numbers.tolist() == list(range(steps + 1))
        expected = np.quantile(weights[:, LAYOUT.span(tensor)], QUANTILES, axis=1).T
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 8, 11, 100])
def test_reading_in_between_changes_nothing(stage, every):
    weights, gradients = random_walk(60)
    budget = 20 * 4 * LAYOUT.total  # snapshots are thinned on the way
    untouched = History(LAYOUT, snapshot_bytes=budget)
    record(untouched, weights, gradients)
    watched = History(LAYOUT, snapshot_bytes=budget)
    record(watched, weights, gradients, lambda step: step % every or read_all(watched))
    assert_same(untouched, watched)


def test_weights_that_were_zero_have_no_update_ratio():
    weights, gradients = random_walk(3)
    weights[:2] = 0
    history = record(History(LAYOUT), weights, gradients)
    ratios = history.statistic("update_ratio", "layer.weight")[1]
    assert np.isnan(ratios).tolist() == [True, True, True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_says_so_and_spoils_no_other(stage, bad):
    weights, gradients = random_walk(20)
    weights[9, 3] = gradients[11, 3] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = record(History(LAYOUT), weights, gradients)
        found = read_all(history)
    healthy = read_all(record(History(LAYOUT), *random_walk(20)))
    expected = {"mean": bad, "norm": abs(bad), "std": np.nan, "distance": abs(bad)}
    expected |= {"min": np.nan if np.isnan(bad) else min(bad, weights[9, :12].min())}
    expected |= {"max": np.nan if np.isnan(bad) else max(bad, weights[9, :12].max())}
    for name, value in expected.items():
        np.testing.assert_equal(found[f"layer.weight {name}"][9], np.float32(value), name)
    assert found["layer.weight gradient_norm"][11] == pytest.approx(abs(bad), nan_ok=True)
    assert np.isnan(found["layer.weight quantiles"][9]).all() == np.isnan(bad)
    for name, values in found.items():
        rows = np.ones(len(np.atleast_1d(values)), bool)
        if len(rows) == 21 and name.startswith(("layer.weight ", "snap")):
            rows[[9, 10, 11]] = False  # 10: its update and ratio come from row 9
        np.testing.assert_array_equal(
            np.atleast_1d(values)[rows], np.atleast_1d(healthy[name])[rows], err_msg=name
        )


def test_huge_weights_overflow_quietly():
    weights, gradients = random_walk(3)
    weights[2:] *= np.float32(1e30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        norms = record(History(LAYOUT), weights, gradients).statistic("norm", "layer.weight")[1]
    assert np.isfinite(norms).tolist() == [True, True, False, False]


# --- curves ----------------------------------------------------------------------------


def test_curves():
    history = record(History(LAYOUT), *random_walk(12))
    numbers, losses = history.curve("loss")
    assert numbers.tolist() == list(range(1, 13)), "step 0 has no batch"
    np.testing.assert_allclose(losses, 1 / np.arange(2, 14))
    assert history.curve("lr")[1].tolist() == [0.1] * 12
    numbers, accuracies = history.curve("val_accuracy")
    assert numbers.tolist() == [0, 5, 10]
    assert accuracies.tolist() == [0.0, 1.25, 2.5]
    assert history.curve("train_loss")[1].tolist() == [2.0] * 3
    assert (len(history), history.last_step) == (13, 12)


def test_without_accuracy_it_is_nan_and_not_in_the_summary():
    history = History(LAYOUT)
    zeros = np.zeros(LAYOUT.total)
    Recorder(history).record(Step(0, np.nan, 0.1, 2.0, None, 3.0, None), zeros + 1, zeros)
    assert np.isnan(history.curve("val_accuracy")[1]).all()
    assert history.summary() == {"steps": 0, "train_loss": 2.0, "val_loss": 3.0}


def test_summary():
    history = record(History(LAYOUT), *random_walk(12))
    expected = {"train_loss": 2.0, "train_accuracy": 0.5, "val_loss": 3.0, "val_accuracy": 2.5}
    assert history.summary() == {"steps": 12, **expected}
    history.finding = {"kind": "diverged", "message": "It did."}
    assert history.summary()["finding"] == "It did."


def test_marks_are_made_where_the_run_is():
    history = History(LAYOUT)
    Recorder(history).mark("before")
    record(history, *random_walk(3))
    Recorder(history).mark("lr 0.1 → 1")
    assert [(mark.step, mark.text) for mark in history.marks] == [(0, "before"), (3, "lr 0.1 → 1")]


def test_the_best_step_is_that_of_the_lowest_validation_loss():
    history = History(LAYOUT)
    recorder = Recorder(history)
    flat = np.zeros(LAYOUT.total, np.float32)
    for step, loss in enumerate([0.9, None, 0.4, math.nan, 0.4, 0.5]):
        recorder.record(Step(step, 0.1, 0.1, 0.1, None, loss), flat, flat)
    assert history.best_step() == 2, "the first of equals; NaN is not the lowest"


def test_without_a_validation_loss_there_is_no_best_step():
    history = History(LAYOUT)
    with pytest.raises(LookupError, match="no finite validation loss"):
        history.best_step()
    flat = np.zeros(LAYOUT.total, np.float32)
    Recorder(history).record(Step(0, 0.1, 0.1, 0.1, None, math.nan), flat, flat)
    with pytest.raises(LookupError, match="no finite validation loss"):
        history.best_step()


def test_an_empty_history():
    history = History(LAYOUT)
    assert (len(history), history.last_step, history.nbytes) == (0, 0, 0)
    assert history.curve("loss")[0].tolist() == []
    assert history.statistic("mean", "scale")[1].tolist() == []
    assert history.quantiles("scale")[1].shape == (0, 5)
    assert history.snapshots()[1].shape == (0, 17)
    assert history.summary() == {"steps": 0}
    for step in (None, 0):
        with pytest.raises(LookupError, match="nothing is recorded yet"):
            history.flat(step)


# --- snapshots -------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 4, 7, 16])
def test_snapshots_stay_evenly_spaced_within_their_budget(stage, rows):
    weights, gradients = random_walk(100)
    budget = rows * 4 * LAYOUT.total + 3
    history = History(LAYOUT, snapshot_bytes=budget)

    def check(last: int) -> None:
        numbers, kept = history.snapshots()
        assert kept.nbytes <= budget
        assert history.stride & (history.stride - 1) == 0, "a power of two"
        assert numbers.tolist() == list(range(0, last + 1, history.stride))
        assert last + 1 <= rows or len(numbers) > rows // 2, "no more is dropped than must be"
        np.testing.assert_array_equal(kept, weights[numbers])

    record(history, weights, gradients, check)
    assert history.stride > 1


def test_without_need_nothing_is_dropped():
    weights, gradients = random_walk(100)
    history = record(History(LAYOUT), weights, gradients)
    numbers, kept = history.snapshots("layer.bias")
    assert numbers.tolist() == list(range(101))
    np.testing.assert_array_equal(kept, weights[:, 12:16])
    statistics = 4 * 101 * len(LAYOUT.names) * len(STATISTICS)
    assert history.nbytes == kept.itemsize * weights.size + statistics


@pytest.mark.parametrize("most", [1, 2, 5, 16, 64, 100, 101, 1000])
def test_asking_for_some_gives_even_ones_and_the_latest(most):
    weights, gradients = random_walk(100)
    history = record(History(LAYOUT), weights, gradients)
    numbers, kept = history.snapshots(most=most)
    spacing = next(2**k for k in range(10) if len(range(0, 101, 2**k)) <= most)
    assert numbers.tolist() == sorted({*range(0, 101, spacing), 100})
    np.testing.assert_array_equal(kept, weights[numbers])
    chosen, values = history.quantiles("layer.weight", most=most)
    assert chosen.tolist() == numbers.tolist()
    expected = np.quantile(weights[numbers, :12], QUANTILES, axis=1).T
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_weights_at_the_nearest_kept_step():
    weights, gradients = random_walk(40)
    history = record(History(LAYOUT, snapshot_bytes=4 * 4 * LAYOUT.total), weights, gradients)
    assert history.snapshots()[0].tolist() == [0, 16, 32]
    for step, kept in [(0, 0), (7, 0), (9, 16), (30, 32), (1000, 32)]:
        np.testing.assert_array_equal(history.flat(step), weights[kept])
    np.testing.assert_array_equal(history.flat(), weights[40])
    named = history.weights(16)
    assert {name: array.shape for name, array in named.items()} == dict(
        zip(LAYOUT.names, LAYOUT.shapes, strict=True)
    )
    np.testing.assert_array_equal(named["layer.bias"], weights[16, 12:16])


def test_what_was_read_does_not_change_later(stage):
    weights, gradients = random_walk(60)
    history = record(History(LAYOUT), weights[:20], gradients[:20])
    before = read_all(history)
    copies = {name: np.copy(values) for name, values in before.items()}
    record(history, weights[20:], gradients[20:])
    read_all(history)
    for name, values in before.items():
        np.testing.assert_array_equal(values, copies[name], err_msg=name)


# --- files -----------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A history with everything in it, and the file it was written to."""
    about = {"recipe": {"lr": 0.1, "hidden": [8, 8]}, "note": "größer"}
    history = History(LAYOUT, about, snapshot_bytes=8 * 4 * LAYOUT.total)
    weights, gradients = random_walk(30)
    weights[20, 3] = np.nan
    record(history, weights, gradients)
    Recorder(history).mark("lr 0.1 → 1")
    history.finding = {"kind": "diverged", "message": "It did.", "evidence": {"step": 3}}
    return history, history.save(tmp_path / "run.safetensors")


def test_a_saved_history_comes_back_the_same(saved):
    history, path = saved
    again = History.load(path)
    assert again.layout == history.layout
    assert again.about == history.about
    assert again.marks == history.marks
    assert again.finding == history.finding
    assert again.summary() == history.summary()
    assert again.nbytes == history.nbytes
    assert_same(history, again)


def test_an_empty_history_comes_back_empty(tmp_path):
    again = History.load(History(LAYOUT).save(tmp_path / "empty"))
    assert len(again) == 0
    assert again.layout == LAYOUT
    with pytest.raises(LookupError):
        again.flat()


def test_a_loaded_history_goes_on(tmp_path):
    weights, gradients = random_walk(40)
    whole = record(History(LAYOUT), weights, gradients)
    half = record(History(LAYOUT), weights[:17], gradients[:17])
    again = History.load(half.save(tmp_path / "half"))
    assert_same(whole, record(again, weights[17:], gradients[17:]))


def test_a_name_without_suffix_gets_one(tmp_path):
    history = record(History(LAYOUT), *random_walk(1))
    assert history.save(tmp_path / "new" / "run") == tmp_path / "new" / "run.safetensors"
    assert history.save(str(tmp_path / "run.history")) == tmp_path / "run.history"
    assert len(History.load(str(tmp_path / "run.history"))) == 2


def test_a_write_that_fails_leaves_the_old_file(saved, monkeypatch):
    history, path = saved
    old = path.read_bytes()
    record(history, *random_walk(5))

    def fail(*_arguments):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        history.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name], "a temporary file was left"
    assert len(History.load(path)) == 31


@pytest.mark.parametrize("share", [0, 1, 7, 8, 9, 100, 0.3, 0.6, 0.9, -1])
def test_a_file_cut_short(saved, share):
    _, path = saved
    data = path.read_bytes()
    path.write_bytes(data[: share if isinstance(share, int) else int(share * len(data))])
    with pytest.raises(FileError) as caught:
        History.load(path)
    assert str(path) in str(caught.value)
    assert "cut short or damaged" in str(caught.value)


def write_text(path):
    path.write_text("step,loss\n1,0.5\n" * 50)


def write_other_tensors(path):
    save_file({"w": np.ones(3, np.float32)}, path)


def write_bfloat16_tensors(path):
    """As YOLO and language models come: numpy has no such type."""
    save_torch_file({"w": torch.ones(3, dtype=torch.bfloat16)}, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.mkdir(), "is not there"),
        (write_text, "cannot be read as a history"),
        (write_other_tensors, "not a history that labkit saved"),
        (write_bfloat16_tensors, "not a history that labkit saved"),
        *(
            (
                lambda path, text=text: save_file({"w": np.ones(3)}, path, {"history": text}),
                "history",
            )
            for text in ("null", "[1]", "3", "no json", '{"format": "labkit.history/999"}')
        ),
    ],
)
def test_what_is_not_a_history_is_refused_by_name(tmp_path, write, message):
    path = tmp_path / "run.safetensors"
    write(path)
    with pytest.raises(FileError) as caught:
        History.load(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


# --- threads ---------------------------------------------------------------------------


def test_readers_see_whole_steps_while_another_thread_records(monkeypatch, tmp_path):
    """Weights equal the step's number everywhere, so that any mixture shows."""
    monkeypatch.setattr(module, "_STAGE_STEPS", 8)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 3 * 4 * LAYOUT.total)
    budget = 50 * 4 * LAYOUT.total
    history = History(LAYOUT, snapshot_bytes=budget)
    recorder, done, reads = Recorder(history), threading.Event(), [0]

    def write() -> None:
        for number in range(10_000):
            row = np.full(LAYOUT.total, number, np.float32)
            judged = (number,) * 4 if number % 7 == 0 else ()
            recorder.record(Step(number, number, 0.1, *judged), row, row)
        done.set()

    def look() -> None:
        numbers, losses = history.curve("loss")
        np.testing.assert_array_equal(numbers, losses)
        numbers, values = history.curve("val_loss")
        np.testing.assert_array_equal(numbers, values)
        for name in ("mean", "min", "max"):
            numbers, values = history.statistic(name, "layer.weight")
            np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
            np.testing.assert_array_equal(numbers, values)
        numbers, kept = history.snapshots()
        assert kept.nbytes <= budget
        np.testing.assert_array_equal(kept, np.tile(numbers[:, None], LAYOUT.total))
        numbers, values = history.quantiles("layer.bias", most=20)
        np.testing.assert_array_equal(values, np.tile(numbers[:, None], 5))
        if len(history):
            flat = history.flat()
            assert (flat == flat[0]).all()
            assert flat[0] >= numbers.max(initial=0), "now is not before what was read"
        reads[0] += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set() and writer.is_alive():
            look()
            if reads[0] % 50 == 1:
                History.load(history.save(tmp_path / "run"))
    finally:
        writer.join(60)
        sys.setswitchinterval(interval)
    assert done.is_set(), "the recording thread failed"
    look()
    assert reads[0] > 3, "reading and recording did not overlap"
    assert history.last_step == 9999
    assert len(history.statistic("mean", "scale")[0]) == 10_000
