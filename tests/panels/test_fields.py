from __future__ import annotations

import itertools
from typing import Annotated, Literal

import ipywidgets as widgets
import pytest

from labkit.core.parameters import Strict, knob, parameters
from labkit.panels.fields import LogSlider, control


class Fields(Strict):
    """One of each kind."""

    choice: Annotated[Literal["a", "b"], knob(help="choose")] = "b"
    flag: Annotated[bool, knob(help="yes or no")] = True
    widths: Annotated[tuple[int, ...], knob()] = (8, 4)
    count: Annotated[int, knob(1, 10, step=3)] = 4
    many: Annotated[int, knob(1, 10_000, scale="log")] = 400
    rate: Annotated[float, knob(1e-3, 1.0, scale="log", live=True)] = 0.02
    share: Annotated[float, knob(0.0, 0.9, step=0.1)] = 0.3
    decay: Annotated[float, knob(0.0, 1.0, step=1e-4, scale="text")] = 0.01
    from_zero: Annotated[float, knob(0.0, 1.0, scale="log")] = 0.5
    free: float = 3.5
    whole: int = 7
    lowest: Annotated[int, knob(low=2)] = 5
    text: str = "words"


KINDS = {
    "choice": (widgets.Dropdown, "b", {"options": ("a", "b")}),
    "flag": (widgets.Checkbox, True, {}),
    "widths": (widgets.Text, "8, 4", {}),
    "count": (widgets.IntSlider, 4, {"min": 1, "max": 10, "step": 3}),
    "many": (widgets.BoundedIntText, 400, {"min": 1, "max": 10_000}),
    "rate": (LogSlider, 0.02, {"continuous_update": True}),
    "share": (widgets.FloatSlider, 0.3, {"min": 0.0, "max": 0.9, "step": 0.1}),
    "decay": (widgets.BoundedFloatText, 0.01, {"min": 0.0, "max": 1.0, "step": 1e-4}),
    "from_zero": (widgets.BoundedFloatText, 0.5, {"min": 0.0, "max": 1.0}),
    "free": (widgets.FloatText, 3.5, {}),
    "whole": (widgets.IntText, 7, {}),
    "lowest": (widgets.IntText, 5, {}),
    "text": (widgets.Text, "words", {}),
}


@pytest.mark.parametrize("name", Fields.model_fields)
def test_each_kind_of_field_has_its_widget(name):
    parameter = parameters(Fields)[name]
    kind, value, traits = KINDS[name]
    widget = control(parameter, parameter.default)
    assert type(widget) is kind
    assert (widget.value, widget.tooltip) == (value, parameter.help)
    assert widget.description == name.replace("_", " ")
    assert {key: getattr(widget, key) for key in traits} == traits


@pytest.mark.parametrize(("low", "high"), [(1e-5, 10.0), (1e-16, 1.0), (0.01, 0.9), (0.5, 20.0)])
def test_a_log_slider_has_round_places_evenly_spaced_within_its_limits(low, high):
    slider = LogSlider(low, high, low)
    places = [place for _, place in slider.options]
    assert places == sorted(places)
    assert low <= places[0] <= places[-1] <= high
    steps = [after / before for before, after in itertools.pairwise(places[1:])]
    assert max(steps) / min(steps) < 1.1 or max(steps) == pytest.approx(10)
    assert all(float(label) == pytest.approx(place) for label, place in slider.options)


def test_a_log_slider_makes_a_place_for_a_value_in_between():
    slider = LogSlider(1e-3, 1.0, 0.02)
    changes: list[float] = []
    slider.observe(lambda change: changes.append(change["new"]), "value")
    slider.show(0.0123)
    assert slider.value == 0.0123
    assert 0.0123 in [place for _, place in slider.options]
    slider.show(0.05)
    assert slider.value == 0.05
    assert 0.0123 not in [place for _, place in slider.options], "old places pile up"
    assert changes[-1] == 0.05
