from __future__ import annotations

import asyncio
import html
import re

import pytest

from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.panels.parts import Action
from labkit.panels.player_panel import PlayerPanel
from labkit.training.session import Player


class Counter(Player):
    """Counts to ten, and fails where it is told to."""

    def __init__(self, executor) -> None:
        super().__init__(executor)
        self.count, self.fails_at = 0, -1

    @property
    def steps_done(self) -> int:
        return self.count

    @property
    def over(self) -> bool:
        return self.count >= 10

    def _advance(self) -> None:
        if self.count == self.fails_at:
            raise RuntimeError("out of numbers")
        self.count += 1

    def _begin(self) -> None:
        self.count = 0


class CountPanel(PlayerPanel):
    def __init__(self, **more) -> None:
        super().__init__(**more)
        self.counter = Counter(self._executor)
        self._open()

    @property
    def player(self) -> Player:
        return self.counter

    def _controls(self):
        actions = [self._play, self._pause, self._step, self._rewind]
        self.buttons = self.make_buttons(*(Action(a.__name__, "", "", a) for a in actions))
        return list(self.buttons.values())

    def _specs(self):
        return {"picture": {"data": [{"y": [self.counter.count]}], "layout": {}}}

    def _tell(self):
        super()._tell()
        self.status.value = f"{self.counter.state} {self.counter.count}"


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


@pytest.mark.parametrize("executor", [SynchronousExecutor(), ThreadExecutor("test")])
def test_it_plays_to_the_end(executor, shown):
    panel = CountPanel(executor=executor)
    panel.buttons["_play"].click()
    asyncio.run(panel.finished())
    assert panel.status.value == "finished 10"
    assert shown[panel.live["picture"]]["data"][0]["y"] == [10]
    panel.buttons["_rewind"].click()
    assert panel.status.value == "ready 0"


def test_single_steps_and_a_pause(shown):
    panel = CountPanel(executor=SynchronousExecutor())
    panel.buttons["_step"].click()
    panel.buttons["_step"].click()
    panel.buttons["_pause"].click()
    assert panel.status.value == "paused 2"


@pytest.mark.parametrize("button", ["_play", "_step"])
def test_an_error_is_shown_until_the_run_goes_on(button, shown):
    panel = CountPanel(executor=SynchronousExecutor())
    panel.counter.fails_at = 0
    panel.buttons[button].click()
    assert words(panel.message) == "RuntimeError: out of numbers"
    assert panel.status.value == "failed 0"
    with pytest.raises(RuntimeError, match="out of numbers"):
        asyncio.run(panel.finished())
    panel.paint()
    assert words(panel.message) == "RuntimeError: out of numbers"
    panel.counter.fails_at = -1
    panel.counter.play()
    panel.paint()
    assert (words(panel.message), panel.status.value) == ("", "finished 10")


def test_headless_it_runs_to_the_end_or_raises(monkeypatch):
    assert CountPanel(interactive=False).counter.count == 10
    monkeypatch.setattr(Counter, "_advance", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        CountPanel(interactive=False)
