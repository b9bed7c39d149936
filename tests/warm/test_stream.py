"""What a kernel prints: sent in order, and nothing piles up."""

from __future__ import annotations

import pytest
from ipykernel.iostream import OutStream

from labkit.warm import stream
from labkit.warm.stream import PacedStream


class Shell:
    """IPython, as far as the stream looks at it."""

    class history_manager:  # noqa: N801
        outputs: dict[int, list[str]] = {}


@pytest.fixture
def paced(monkeypatch):
    """A stream that notes what ipykernel's would get, and when it waits."""
    done: list[str] = []
    monkeypatch.setattr(OutStream, "write", lambda self, text: done.append(text) or len(text))
    monkeypatch.setattr(OutStream, "flush", lambda self: done.append("flush"))
    monkeypatch.setattr(stream, "MOST", 10)
    monkeypatch.setattr(stream, "get_ipython", lambda: Shell)
    return PacedStream.__new__(PacedStream), done


def test_it_waits_now_and_then(paced):
    written, done = paced
    for _ in range(4):
        assert written.write("12345") == 5
    assert done == ["12345", "12345", "12345", "flush", "12345"]


def test_what_was_sent_is_forgotten(paced):
    written, _ = paced
    Shell.history_manager.outputs = {1: ["much"]}
    written.write("12345")
    assert Shell.history_manager.outputs == {1: ["much"]}
    written.write("1234567")
    assert Shell.history_manager.outputs == {}


def test_without_ipython_it_waits_all_the_same(paced, monkeypatch):
    written, done = paced
    monkeypatch.setattr(stream, "get_ipython", lambda: None)
    written.write("x" * 11)
    assert done[-1] == "flush"


@pytest.mark.parametrize(("text", "sent"), [("ü → 😀", "ü → 😀"), ("a\ud800b", "a?b")])
def test_half_a_character_is_replaced_and_whole_ones_are_not(paced, text, sent):
    written, done = paced
    assert written.write(text) == len(sent)
    assert done == [sent]
