"""The race: several recipes from the same weights, overlaid."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit.core.table import Table
from labkit.figures import loss_curves
from labkit.figures.base import Spec
from labkit.panels.markup import write
from labkit.panels.player_panel import PlayerPanel
from labkit.recipe.recipe import Recipe
from labkit.training.history import History
from labkit.training.race import Race
from labkit.training.session import Player

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go


class RacePanel(PlayerPanel):
    """Contenders side by side; add and remove them while you look.

    With `interactive=False` it races to the end and shows a figure and a table.

    Args:
        recipes: the contenders; see `labkit.training.race.Race` for who shares whose start.
        interactive: whether somebody is there to use it.
        executor: where training runs, for tests.

    Attributes:
        race: the contenders' training.

    Raises:
        RecipeError: no recipe, or the same twice.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(interactive=interactive, executor=executor)
        self.race = Race(recipes, executor=self._executor)
        self._open()

    @property
    def player(self) -> Player:
        """The race."""
        return self.race

    @property
    def histories(self) -> dict[str, History]:
        """Each contender's history, by its label."""
        return self.race.histories

    @property
    def _steps(self) -> int:
        return max(recipe.steps for recipe in self.race.recipes)

    # --- pictures ----------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """A static figure of the race as it is."""
        return loss_curves(self.histories, steps=self._steps)

    def table(self) -> Table:
        """One row a contender."""
        return Table(self.race.table())

    def static(self) -> list[Any]:
        """The figure and the table."""
        return [self.figure(), self.table()]

    def _specs(self) -> dict[str, Spec]:
        return {"picture": loss_curves.spec(self.histories, steps=self._steps)}

    def _tell(self) -> None:
        super()._tell()
        parts = [f"<b>{self.race.state}</b>", f"step {self.race.steps_done:,} of {self._steps:,}"]
        if self.race.speed:
            parts.append(f"{self.race.speed:,.0f} rounds/s")
        parts += [html.escape(f"{label}: {why}") for label, why in self.race.findings.items()]
        write(self.status, " · ".join(parts))
        self.buttons["Race"].disabled = self.race.running or self.race.over
        self.buttons["Pause"].disabled = not self.race.running

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.parts import Action

        self.buttons = self.make_buttons(
            Action("Race", "play", "train all contenders", self._play, "primary"),
            Action("Pause", "pause", "stop after this step", self._pause),
            Action("Rewind", "fast-backward", "all back to their initial weights", self._rewind),
        )
        self.contenders = widgets.VBox()
        self.difference = widgets.Text(
            description="new contender",
            placeholder="optimizer=sgd lr=0.1",
            tooltip="how it differs from the first contender",
            style={"description_width": "auto"},
            layout=widgets.Layout(width="360px"),
        )
        self.add = parts.button("Add", "plus", "one more contender; all start anew")
        self.on_click(self.add, self._add)
        return [self.contenders, parts.row(self.difference, self.add)]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        buttons = parts.row(*self.buttons.values())
        return parts.column(buttons, self.status, self.live["picture"], *controls, self.message)

    def _fill(self) -> None:
        """Show the contenders, each with a button that removes it."""
        self.contenders.children = [
            self._row(index, label, shared)
            for index, (label, shared) in enumerate(
                zip(self.race.labels, self.race.shares_start, strict=True)
            )
        ]

    def _row(self, index: int, label: str, shared: bool) -> ipywidgets.Widget:
        import ipywidgets as widgets

        from labkit.panels import parts

        remove = parts.button("Remove", "", f"take {label} out of the race")
        remove.disabled = len(self.race.recipes) == 1
        self.on_click(remove, lambda: self._change(lambda: self.race.remove(index)))
        start = "same initial weights" if shared else "initial weights of its own"
        return widgets.HBox([remove, widgets.HTML(f"<b>{html.escape(label)}</b> · {start}")])

    def _add(self) -> None:
        recipe = self.race.recipes[0].replace_text(self.difference.value)
        self._change(lambda: self.race.add(recipe))

    def _change(self, change: Callable[[], None]) -> None:
        change()
        self.fill()
        self._settle()
