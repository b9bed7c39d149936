from __future__ import annotations

import asyncio
import html
import re
import threading

import ipywidgets as widgets
import plotly.graph_objects as go
import pytest

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.panels.base import Panel
from labkit.panels.parts import Action


class Doubler(Panel):
    """A number and its double, which takes a while to find."""

    pictures = ("bars", "line")

    def __init__(self, number: int = 1, **more) -> None:
        super().__init__(**more)
        self.number, self.double = number, 2 * number
        self.go_on = threading.Event()
        self.go_on.set()
        self._open()

    def _controls(self):
        self.slider = widgets.IntSlider(0, 0, 100)
        self.on_edit(self.slider, self._change)
        self.buttons = self.make_buttons(
            Action("Break", "bomb", "divide by zero", lambda: 1 / 0, "primary")
        )
        return [self.slider, *self.buttons.values()]

    def _fill(self):
        self.slider.value = self.number

    def _specs(self):
        bars = {"data": [{"type": "bar", "y": [self.number, self.double]}], "layout": {}}
        return {"bars": bars, "line": {"data": [], "layout": {}}}

    def _tell(self):
        self.status.value = f"{self.number} {self.double}"

    def _change(self, number: int) -> None:
        if number > 50:
            raise LabError("at most 50")
        self.number = number
        self.fill()
        self.job.request(number)

    def _work(self, number: int) -> None:
        assert self.go_on.wait(20)
        self.job.progress(0, 1)
        if number == 13:
            raise LabError("not 13")
        self.double = 2 * number
        self.paint()


def made(number: int = 1, **more) -> Doubler:
    return Doubler(number, **{"executor": SynchronousExecutor(), **more})


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


@pytest.fixture
def displayed(monkeypatch):
    objects: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *found: objects.extend(found))
    return objects


def test_it_shows_what_it_starts_with(shown, displayed):
    panel = made(4)
    panel._ipython_display_()
    assert displayed == [panel.widget]
    assert (panel.slider.value, panel.status.value) == (4, "4 8")
    assert shown[panel.live["bars"]]["data"][0]["y"] == [4, 8]
    assert set(shown) == set(panel.live.values())


def test_headless_it_is_its_figures_and_needs_no_widgets(monkeypatch, displayed):
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    panel = Doubler(4, interactive=False)
    panel._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure, go.Figure]
    assert list(displayed[0].data[0].y) == [4, 8]
    assert not hasattr(panel, "widget")


def test_an_edit_is_worked_on_and_painted(shown):
    panel = made()
    panel.slider.value = 7
    assert (panel.status.value, panel.job.state) == ("7 14", "finished")
    assert shown[panel.live["bars"]]["data"][0]["y"] == [7, 14]


def test_filling_is_no_edit(shown):
    panel = made()
    panel.number = 9
    panel.fill()
    assert panel.slider.value == 9
    assert panel.job.state == "ready"


@pytest.mark.parametrize(
    ("act", "message", "mine"),
    [
        (lambda panel: setattr(panel.slider, "value", 60), "at most 50", LabError),
        (lambda panel: setattr(panel.slider, "value", 13), "not 13", LabError),
        (
            lambda panel: panel.buttons["Break"].click(),
            "ZeroDivisionError: division by zero",
            ZeroDivisionError,
        ),
    ],
    ids=["in an edit", "in the work", "in a button"],
)
def test_errors_are_shown_wherever_they_arise(act, message, mine, shown):
    panel = made()
    act(panel)
    assert words(panel.message) == message
    assert "role='alert'" in panel.message.value
    assert isinstance(panel.error, mine)
    panel.slider.value = 5
    assert words(panel.message) == "", "an old alert stays"
    assert panel.status.value == "5 10"


def test_a_refused_edit_puts_the_controls_back(shown):
    panel = made(3)
    panel.slider.value = 60
    assert panel.slider.value == 3


def test_what_cannot_be_painted_is_shown(shown, monkeypatch):
    panel = made()
    monkeypatch.setattr(panel, "_specs", lambda: 1 / 0)
    panel.slider.value = 5
    assert words(panel.message) == "ZeroDivisionError: division by zero"


def test_a_cell_awaits_the_work_and_gets_its_error(shown):
    panel = made(executor=ThreadExecutor("test"))

    async def cell(number: int) -> bool:
        panel.go_on.clear()
        panel.slider.value = number
        waiting = asyncio.ensure_future(panel.finished())
        await asyncio.sleep(0.01)
        early = waiting.done()
        panel.go_on.set()
        await waiting
        return early

    assert asyncio.run(cell(6)) is False
    assert panel.double == 12
    with pytest.raises(LabError, match="not 13"):
        asyncio.run(cell(13))


def test_interrupting_the_cell_stops_the_work(shown):
    panel = made(executor=ThreadExecutor("test"))

    async def cell() -> None:
        panel.go_on.clear()
        panel.slider.value = 6
        waiting = asyncio.ensure_future(panel.finished())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cell())
    panel.go_on.set()
    assert panel.job.wait(20)
    assert (panel.job.state, panel.double) == ("stopped", 2)


def test_a_panel_must_say_its_controls_and_pictures():
    with pytest.raises(TypeError, match="_controls"):
        Panel()
