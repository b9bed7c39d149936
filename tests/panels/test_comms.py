from __future__ import annotations

import ipywidgets as widgets
import pytest
from ipykernel.comm.comm import BaseComm

from labkit import NeuronPanel, TrainPanel
from labkit.panels.comms import handle_in_order
from labkit.recipe.recipe import Recipe

PAGE = "the page's subshell"


class KernelComm(BaseComm):
    """A comm of ipykernel whose widget has last sent something from the thread of the cells."""

    def __init__(self) -> None:
        super().__init__(target_name="jupyter.widget")
        self._reply_subshell_id = None


@pytest.fixture
def in_a_kernel(monkeypatch):
    """Widgets have comms of ipykernel's kind, as in a kernel that serves a page."""
    monkeypatch.setattr(widgets.Widget, "open", lambda self: self.set_trait("comm", KernelComm()))


def route(widget: widgets.Widget) -> str | None:
    """Where ipykernel hands on a message to a widget that the page has sent to its subshell."""
    return widget.comm._reply_subshell_for({"method": "update"}, PAGE)


def everything_in(widget: widgets.Widget) -> list[widgets.Widget]:
    found = [widget]
    for child in getattr(widget, "children", ()):
        found += everything_in(child)
    return found


def test_without_it_the_thread_that_sent_last_is_the_one(in_a_kernel):
    assert route(widgets.Button()) is None, "ipykernel has changed: is this still needed?"


def test_messages_stay_where_the_page_sent_them(in_a_kernel):
    inner, outer = widgets.IntSlider(), widgets.IntSlider()
    handle_in_order(widgets.VBox([widgets.HBox([inner]), outer]))
    assert [route(inner), route(outer)] == [PAGE, PAGE]


def test_a_page_without_subshells_goes_to_the_thread_of_the_cells(in_a_kernel):
    button = widgets.Button()
    handle_in_order(button)
    assert button.comm._reply_subshell_for({}, None) is None


@pytest.mark.parametrize(
    "make",
    [NeuronPanel, lambda: TrainPanel(Recipe(steps=2, samples=20, task="moons"))],
    ids=["neuron", "train"],
)
def test_every_widget_of_a_panel_is_heard_by_one_thread(make, in_a_kernel):
    parts = everything_in(make().widget)
    assert len(parts) > 5
    assert {route(widget) for widget in parts} == {PAGE}


def test_fields_that_appear_later_are_too(in_a_kernel):
    panel = TrainPanel(Recipe(steps=2, samples=20, task="moons"))
    panel.controls.fields["init"].value = "xavier_normal"
    assert {route(widget) for widget in everything_in(panel.widget)} == {PAGE}


def test_where_there_is_no_kernel_nothing_happens():
    handle_in_order(widgets.VBox([widgets.Button()]))
