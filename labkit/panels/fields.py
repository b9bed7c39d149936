"""The widget for one parameter, made from its type, limits, scale and help."""

from __future__ import annotations

import math
from typing import Any, get_origin

import ipywidgets as widgets

from labkit.core.parameters import Parameter, spell

LABELS = {"lr": "learning rate", "data_seed": "data seed"}
ROUND = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)  # Renard's R10: even on a log scale
WIDTH = "auto"
STYLE = {"description_width": "104px"}


def control(parameter: Parameter, value: Any) -> widgets.Widget:
    """The widget for one parameter, with its label, limits, step and help."""
    common: dict[str, Any] = {
        "description": LABELS.get(parameter.name, parameter.name.replace("_", " ")),
        "tooltip": parameter.help,
        "style": STYLE,
        "layout": widgets.Layout(width=WIDTH),
    }
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.choices:
        return widgets.Dropdown(options=parameter.choices, value=value, **common)
    if parameter.type is bool:
        return widgets.Checkbox(value=value, **common)
    if get_origin(parameter.type) is tuple:
        return widgets.Text(value=spell_widths(value), continuous_update=False, **common)
    if parameter.type is str:
        return widgets.Text(value=value, continuous_update=False, **common)
    if low is None or high is None:
        free = widgets.IntText if parameter.type is int else widgets.FloatText
        return free(value=value, **common)
    if parameter.type is int:
        if parameter.scale == "linear":
            return widgets.IntSlider(value, low, high, step or 1, continuous_update=False, **common)
        return widgets.BoundedIntText(value, min=low, max=high, **common)
    if parameter.scale == "log" and low:
        return LogSlider(low, high, value, continuous_update=parameter.live, **common)
    if parameter.scale == "linear":
        return widgets.FloatSlider(
            value,
            min=low,
            max=high,
            step=step or 0.01,
            readout_format=".3g",
            continuous_update=parameter.live,
            **common,
        )
    return widgets.BoundedFloatText(value, min=low, max=high, step=step, **common)


class LogSlider(widgets.SelectionSlider):
    """A log slider over round numbers, ten a decade (one a decade over a wide range).

    `FloatLogSlider` moves in equal steps of the exponent: it cannot show 0.02, and would
    change it to 0.01995 as soon as it is displayed. A value in between gets a place here.
    """

    def __init__(self, low: float, high: float, value: float, **more: Any) -> None:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        digits = ROUND if len(decades) <= 9 else (1,)
        places = (float(f"{digit}e{decade}") for decade in decades for digit in digits)
        self._round = [place for place in places if low <= place <= high]
        super().__init__(options=self._with(value), value=value, **more)

    def _with(self, value: float) -> list[tuple[str, float]]:
        return [(f"{place:g}", place) for place in sorted({*self._round, value})]

    def show(self, value: float) -> None:
        """Move to `value`, making a place for it if there is none."""
        if value != self.get_interact_value():
            with self.hold_sync():
                self.options = self._with(value)
                self.value = value


def show(widget: Any, value: Any) -> None:
    """Make the widget of a parameter show a value."""
    if isinstance(value, tuple):
        value = spell_widths(value)
    if isinstance(widget, LogSlider):
        widget.show(value)
    else:
        widget.value = value


def spell_widths(value: tuple[int, ...]) -> str:
    """Widths of layers as people write them: `8, 8`."""
    return spell(value).replace("-", ", ")
