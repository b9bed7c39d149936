"""Controls for the arguments of the entry that is chosen: they come and go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from labkit.core.parameters import Parameter
from labkit.core.registry import Entry
from labkit.panels.fields import control, show


class EntryArguments(widgets.VBox):
    """One widget for each argument of an entry of some registry.

    Args:
        observe: called with each new widget and its argument's name, to tie it to what it sets.
        make: makes the widget of an argument with a value; `control` by default.
        without: arguments that have a place elsewhere.

    Attributes:
        fields: the widgets by the argument's name.
    """

    def __init__(
        self,
        observe: Callable[[Any, str], object],
        *,
        make: Callable[[Parameter, Any], Any] = control,
        without: tuple[str, ...] = (),
    ) -> None:
        self._observe, self._make, self._without = observe, make, without
        self._entry: Entry | None = None
        self.fields: dict[str, Any] = {}
        super().__init__()

    def show(self, entry: Entry, given: Mapping[str, Any]) -> None:
        """Show the arguments of an entry: those that are given, and the defaults of the rest."""
        own = {n: p for n, p in entry.parameters().items() if n not in self._without}
        values = {name: given.get(name, parameter.default) for name, parameter in own.items()}
        if entry is not self._entry:  # also one that was registered anew under the same name
            self._entry = entry
            self.fields = {name: self._make(own[name], value) for name, value in values.items()}
            for name, widget in self.fields.items():
                self._observe(widget, name)
            self.children = tuple(self.fields.values())
        for name, value in values.items():
            show(self.fields[name], value)
