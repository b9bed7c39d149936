from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from labkit.panels import painter as module
from labkit.panels.painter import Painter


class Picture:
    """A figure that counts its frames, and may make the painter wait."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.waits: list[float] = []

    def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        return True


class Stage:
    """A run of `length` frames on a painter, told frame by frame what is drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, length: int = 5) -> None:
        self.length, self.now = length, 0
        self.pictures = [Picture(), Picture()]
        self.told: list[int] = []
        self.names: set[str] = set()
        monkeypatch.setattr(module, "show_together", self.show)
        self.failures: list[Exception] = []
        self.painter = Painter(
            self.draw, lambda: self.told.append(self.now), self.running, self.failures.append
        )

    def draw(self):
        self.now += 1
        return dict.fromkeys(self.pictures, self.now)

    def running(self) -> bool:
        return self.now < self.length

    def show(self, specs) -> None:
        self.names.add(threading.current_thread().name)
        for picture, spec in specs.items():
            picture.frames.append(spec)


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def test_painting_once_is_done_here_and_now(stage):
    stage.painter.paint()
    assert [picture.frames for picture in stage.pictures] == [[1], [1]]
    assert stage.told == [1]
    assert stage.names == {threading.current_thread().name}


def test_it_paints_while_something_runs_and_once_more(stage):
    stage.painter.start()
    stage.painter.join(30)
    assert [picture.frames for picture in stage.pictures] == [[1, 2, 3, 4, 5, 6]] * 2
    assert stage.names == {"labkit-paint"}
    assert stage.told[-1] == 6, "the words are not those of the end"


def test_the_last_frame_is_painted_even_if_all_is_over(monkeypatch):
    stage = Stage(monkeypatch, length=0)
    stage.painter.start()
    stage.painter.join(30)
    assert stage.pictures[0].frames == [1]


def test_it_waits_for_room_on_the_page_after_each_frame_but_the_last(stage):
    stage.painter.start()
    stage.painter.join(30)
    assert [len(picture.waits) for picture in stage.pictures] == [5, 0], "one answers for all"
    assert all(0 < timeout < 2 for timeout in stage.pictures[0].waits)


def test_it_paints_at_its_rate_and_tells_less_often(monkeypatch):
    """By a clock that moves only where it sleeps."""
    stage, clock, slept = Stage(monkeypatch, length=30), [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    fake = SimpleNamespace(perf_counter=lambda: clock[0] + 100, sleep=sleep)
    monkeypatch.setattr(module, "time", fake)
    stage.painter._work()
    assert slept == pytest.approx([1 / module.RATE] * 30)
    frames_between = module.STATUS_EVERY * module.RATE
    assert 30 / (frames_between + 1) <= len(stage.told) <= 30 / frames_between + 2


def test_a_second_start_does_nothing_while_it_paints(stage):
    going, on = threading.Event(), threading.Event()
    draw = stage.draw

    def hold():
        going.set()
        assert on.wait(30)
        return draw()

    stage.painter._draw = hold
    stage.painter.start()
    assert going.wait(30)
    first = stage.painter._thread
    stage.painter.start()
    assert stage.painter._thread is first
    on.set()
    stage.painter.join(30)
    assert stage.pictures[0].frames == [1, 2, 3, 4, 5, 6]


def test_what_starts_again_during_the_last_frame_is_painted_too(stage):
    """A learning rate dragged mid-run pauses and resumes it: the picture must not freeze."""
    draw = stage.draw

    def draw_and_resume():
        spec = draw()
        if stage.now == stage.length + 1:  # the last frame: the run was seen to be over
            stage.length = 10  # somebody plays on …
            stage.painter.start()  # … and asks for pictures, while this thread still lives
        return spec

    stage.painter._draw = draw_and_resume
    stage.painter.start()
    stage.painter.join(30)
    assert stage.now >= 11
    assert stage.pictures[0].frames[-1] == stage.now


def test_it_can_be_started_again_afterwards(stage):
    for length in (5, 9):
        stage.length = length
        stage.painter.start()
        stage.painter.join(30)
        assert stage.pictures[0].frames[-1] >= length


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_picture_that_cannot_be_drawn_does_not_end_painting_for_good(stage):
    draw, stage.painter._draw = stage.draw, lambda: 1 / 0
    stage.painter.start()
    stage.painter.join(30)
    assert [type(error) for error in stage.failures] == [ZeroDivisionError]
    stage.painter._draw = draw
    stage.painter.start()
    stage.painter.join(30)
    assert stage.pictures[0].frames[-1] == 6


def test_joining_before_anything_was_started_or_from_itself(stage):
    stage.painter.join(0)
    stage.painter._tell = lambda: stage.painter.join(30)  # it would wait for itself
    stage.painter.start()
    stage.painter.join(30)
    assert stage.pictures[0].frames[-1] == 6
