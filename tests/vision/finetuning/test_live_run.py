"""A run that is watched and stopped from another thread than its own."""

from __future__ import annotations

import math
import threading

import pytest

import labkit.vision.finetuning.run
from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.training.findings import Finding
from labkit.vision.finetuning import StepRecord, diagnosis, live_run
from labkit.vision.finetuning.live_run import LiveRun
from tests.vision.finetuning.fake import MAPS, PER_EPOCH, SPEC, FakeTraining, used


@pytest.fixture
def training(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(labkit.vision.finetuning.run, "finetune", fake)
    return fake


def test_it_holds_all_that_was_reported(training):
    run = LiveRun(SPEC).start(SynchronousExecutor())
    assert run.over
    assert run.state == "finished"
    assert [record.step for record in run.steps] == list(range(1, 3 * PER_EPOCH + 1))
    assert [record.map50 for record in run.epochs] == list(MAPS)
    assert run.used == used(SPEC)
    assert run.best.epoch == MAPS.index(max(MAPS))
    assert run.steps_per_epoch == PER_EPOCH
    assert run.outcome() is run.result


def test_it_is_read_and_stopped_while_another_thread_fills_it(training):
    arrived, go_on = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        if number == 6:
            arrived.set()
            assert go_on.wait(30)

    training.at_step = wait
    run = LiveRun(SPEC)
    assert run.state == "preparing"
    assert run.steps_per_epoch == 1
    assert run.best is None
    run.start(ThreadExecutor("test"))
    assert arrived.wait(30)
    assert run.state == "running"
    assert len(run.steps) == 5
    assert run.news.is_set()
    with pytest.raises(LabError, match="still running"):
        run.outcome()
    run.news.clear()
    run.stop()
    assert run.state == "stopping"
    assert run.news.is_set(), "the button is greyed out at once"
    go_on.set()
    assert run.done.wait(30)
    assert run.state == "stopped"
    assert not run.stopping
    assert len(run.steps) == 5, "the run ends before the next step"
    assert run.outcome().stopped


@pytest.mark.parametrize("error", [LabError("no data"), RuntimeError("no memory")])
def test_an_error_is_kept_and_raised_when_the_outcome_is_asked_for(training, error):
    def fail(number: int) -> None:
        raise error

    training.at_step = fail
    run = LiveRun(SPEC).start(SynchronousExecutor())
    assert run.state == "failed"
    with pytest.raises(type(error), match=str(error)):
        run.outcome()


def test_an_interrupt_is_kept_and_goes_on(training):
    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    training.at_step = interrupt
    run = LiveRun(SPEC)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.over
    assert run.state == "failed"


def test_a_finding_of_the_result_replaces_the_one_so_far(training, monkeypatch):
    monkeypatch.setattr(diagnosis, "RISEN", 0.0)  # any loss is too high
    seen, run = [], LiveRun(SPEC)
    training.finding = Finding("diverged", "The loss became NaN.", "Try lr=0.0004.", {}, {})
    training.at_step = lambda number: seen.append(run.finding)
    assert run.finding is None
    run.run()
    assert seen[0] is None
    assert seen[-1].kind != "diverged"
    assert run.finding is training.finding
    assert run.state == "diverged"


def test_the_time_left_is_judged_by_the_steps_so_far(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_run.time, "perf_counter", lambda: now[0])
    run = LiveRun(SPEC)
    assert math.isnan(run.seconds_left)
    for step in range(7, 10):  # a resumed run: six steps of an earlier session do not count
        run._on_step(StepRecord(step, 1, 1.0, {"box": 1.0}, 0.1, None, 12))
        now[0] += 2.0
    now[0] -= 2.0
    assert run.seconds_left == pytest.approx(3 * 2.0)
