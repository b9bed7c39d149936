"""A row for each optimizer: its colour, its learning rate, a button that removes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from labkit.panels import parts
from labkit.panels.fields import LogSlider

RATES = (1e-4, 10.0)  # the slider's limits


class RateRows(widgets.VBox):
    """Learning rates of several optimizers, of which each can be removed but the last.

    Args:
        observe: called with each new slider and the optimizer's name.
        removable: called with each new button and the optimizer's name.

    Attributes:
        rates: the sliders, by name.
    """

    def __init__(
        self, observe: Callable[[Any, str], object], removable: Callable[[Any, str], object]
    ) -> None:
        self._observe, self._removable = observe, removable
        self.rates: dict[str, LogSlider] = {}
        super().__init__()

    def show(self, lrs: Sequence[tuple[str, float]], colors: Mapping[str, str]) -> bool:
        """Show these, new rows where the optimizers are others: then it is True."""
        renewed = tuple(self.rates) != tuple(name for name, _ in lrs)
        if renewed:
            self.rates = {}
            self.children = tuple(
                self._row(name, lr, colors[name], alone=len(lrs) == 1) for name, lr in lrs
            )
        for name, lr in lrs:
            self.rates[name].show(lr)
        return renewed

    def _row(self, name: str, lr: float, color: str, *, alone: bool) -> widgets.HBox:
        dot = widgets.HTML(
            f"<span style='color:{color};font-size:18px' aria-hidden='true'>●</span>"
        )
        slider = LogSlider(
            *RATES,
            lr,
            description=name,
            tooltip=f"learning rate of {name}",
            continuous_update=True,
            style={"description_width": "86px"},
            layout=widgets.Layout(flex="1 1 auto", width="auto"),
        )
        self.rates[name] = slider
        self._observe(slider, name)
        remove = parts.button("", "times", f"take {name} off the map", width="34px")
        remove.disabled = alone
        self._removable(remove, name)
        return widgets.HBox([dot, slider, remove])
