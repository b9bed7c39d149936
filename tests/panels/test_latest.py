from __future__ import annotations

import threading

import pytest

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.panels.latest import Latest, alert


def test_of_what_is_asked_meanwhile_only_the_last_is_done():
    began, may_end, done = threading.Event(), threading.Event(), threading.Event()
    worked, saw = [], []

    def work(what: int) -> None:
        worked.append(what)
        began.set()
        assert may_end.wait(20)
        saw.append(latest.overtaken)
        if what == 4:
            done.set()

    latest = Latest(ThreadExecutor("test"), work, print)
    latest.ask(1)
    assert began.wait(20)
    assert not latest.overtaken
    for what in (2, 3, 4):
        latest.ask(what)
    assert latest.overtaken
    may_end.set()
    assert done.wait(20)
    assert worked == [1, 4]
    assert saw == [True, False]


def test_a_slip_is_told_and_the_next_request_is_done():
    told, worked = [], []

    def work(what: str) -> None:
        if what == "bad":
            raise LabError("choose another")
        worked.append(what)

    latest = Latest(SynchronousExecutor(), work, told.append)
    latest.ask("bad")
    latest.ask("good")
    assert told == ["choose another"]
    assert worked == ["good"]


def test_a_failure_is_told_and_it_works_again():
    told, worked = [], []

    def work(what: int) -> None:
        worked.append(what)
        if what == 1:
            raise RuntimeError("a bug")

    latest = Latest(SynchronousExecutor(), work, told.append)
    latest.ask(1)
    latest.ask(2)
    assert worked == [1, 2]
    assert told == ["RuntimeError: a bug"]


@pytest.mark.parametrize("text", ["<b> & co", ""])
def test_an_alert_is_words_and_no_html(text):
    shown = alert(text)
    assert ("role='alert'" in shown) is bool(text)
    assert "<b>" not in shown
