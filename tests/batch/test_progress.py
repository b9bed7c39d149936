"""What a person sees while a batch runs."""

from __future__ import annotations

import io
import sys

import pytest

from labkit.batch import progress
from labkit.batch.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        seconds = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.seconds)
    return Clock


def test_a_pipe_gets_a_line_now_and_then(now, capsys):
    shown = Progress(10)
    shown.known(2, 1)
    shown.now(2, 2)
    assert capsys.readouterr().err == ""
    shown.ended("done", 30.0)
    now.seconds += progress.PLAIN
    shown.now(2, 2)
    assert capsys.readouterr().err == ("4/10 runs: 3 done, 1 failed, 2 running, 1 min 30 s left\n")
    shown.ended("timed out", 50.0, "timed out: a-1: cell [3] took more than 50 s")
    shown.now(2, 2, elsewhere=3)
    assert capsys.readouterr().err == "timed out: a-1: cell [3] took more than 50 s\n"
    now.seconds += progress.PLAIN
    shown.now(2, 2, elsewhere=3)
    assert "2 running, 3 with another driver, 1 min 40 s left" in capsys.readouterr().err
    shown.close()
    assert capsys.readouterr().err.startswith("5/10 runs: 3 done, 2 failed, 0 running")


def test_a_terminal_gets_one_line_that_changes(now, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = Progress(4)
    shown.ended("done", 2.0)
    now.seconds += 1
    shown.now(1, 1)
    shown.note("a remark")
    for _ in range(3):
        shown.ended("done", 2.0)
    shown.close()
    text = sys.stderr.getvalue()
    assert "\n" not in text.partition("a remark")[0].strip("\n")
    assert "1 done, 0 failed, 1 running, 6 s left" in text
    assert "4/4 runs" in text.splitlines()[-1].rpartition("\r")[2]
    assert "4 done, 0 failed, 0 running" in text


def test_nothing_is_shown_to_who_wants_nothing(now, monkeypatch, capsys):
    for stream in (sys.stderr, terminal := Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        shown = Progress(2, show=False)
        shown.note("a remark")
        shown.ended("failed", 1.0, "failed: a")
        now.seconds += 1000
        shown.now(1, 1)
        shown.close()
    assert capsys.readouterr() == ("", "")
    assert terminal.getvalue() == ""


def test_a_thousand_failures_are_not_a_thousand_lines(capsys):
    shown = Progress(1000)
    for i in range(1000):
        shown.ended("failed", 0.0, f"failed: run {i}")
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["failed: run 0", "failed: run 1"]
    assert len(lines) == progress.FAILURES + 2
    assert lines[-1] == "1000/1000 runs: 0 done, 1000 failed, 0 running"


@pytest.mark.parametrize(
    ("done", "parallel", "expected"),
    [(0, 4, None), (2, 4, 20.0), (2, 100, 10.0), (9, 4, 10.0), (10, 4, 0.0)],
)
def test_the_time_that_remains(done, parallel, expected):
    """Runs of 10 s: eight more on four workers are two rounds."""
    shown = Progress(10, show=False)
    for _ in range(done):
        shown.ended("done", 10.0)
    shown.now(0, parallel)
    assert shown.remaining() == expected
