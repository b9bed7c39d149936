"""What went wrong, on a panel: failures to choose from, findings, and their remedies."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from labkit.core.parameters import spell
from labkit.panels.markup import alert, write
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.workshop.presets import Preset

NONE = ""  # in the menu: None would show as an empty field
_CALM = "<div style='line-height:1.3'>{}</div>"


class FindingsBox(widgets.VBox):
    """Findings, each with its remedy, and a button that applies the first one's.

    Args:
        apply: called with the finding whose remedy is wanted.
    """

    def __init__(self, apply: Callable[[Finding], None]) -> None:
        self.words = widgets.HTML()
        self.button = widgets.Button(
            description="Try the remedy",
            icon="medkit",
            button_style="info",
            layout=widgets.Layout(width="auto", align_self="flex-start"),
        )
        self._offered: Finding | None = None
        self._apply = apply
        self.button.on_click(self._clicked)
        super().__init__()

    def show(self, findings: Sequence[Finding]) -> None:
        """Show these and offer the first remedy that can be applied; none clears the box."""
        words = "".join(alert(str(finding)) for finding in findings)
        if words == self.words.value:
            return
        self.words.value = words
        self._offered = next((finding for finding in findings if finding.changes), None)
        changes = self._offered.changes if self._offered else {}
        self.button.tooltip = ", ".join(f"{key}={spell(value)}" for key, value in changes.items())
        # The box takes no room while there is nothing to say.
        self.children = [self.words, self.button][: bool(findings) + bool(changes)]

    def _clicked(self, _button: Any) -> None:
        if self._offered is not None:
            self._apply(self._offered)


class PresetSelector(widgets.VBox):
    """A menu of failures; the chosen one shows its question, and where to look at the end.

    Args:
        presets: what to choose from; nothing is shown where there are none.
        choose: called with the one that was chosen.
        recipe: the one in force; a preset that has it is chosen already.
    """

    def __init__(
        self, presets: Sequence[Preset], choose: Callable[[Preset], None], recipe: Recipe
    ) -> None:
        self._presets = {preset.name: preset for preset in presets}
        self._choose = choose
        self.menu = widgets.Dropdown(
            description="preset",
            options=[("choose a failure…", NONE), *((p.title, p.name) for p in presets)],
            value=next((p.name for p in presets if p.recipe == recipe), NONE),
            style={"description_width": "auto"},
            layout=widgets.Layout(width="max-content"),
        )
        self.words = widgets.HTML()
        self.menu.observe(self._changed, "value")
        super().__init__([self.menu, self.words] if presets else [])

    def _changed(self, _change: Any) -> None:
        if self.chosen is not None:
            self._choose(self.chosen)

    @property
    def chosen(self) -> Preset | None:
        """The preset whose recipe is in force."""
        return self._presets.get(self.menu.value)

    def clear(self) -> None:
        """Another recipe is in force: any preset can be chosen, the same one too."""
        self.menu.value = NONE

    def tell(self, ended: bool) -> None:
        """Show the question, and where to look once the run has ended."""
        preset = self.chosen
        parts = [] if preset is None else [preset.question, preset.look][: 1 + ended]
        write(self.words, "".join(_CALM.format(html.escape(part)) for part in parts))
