"""The race: several recipes from the same weights, overlaid."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor
from labkit.core.table import Table
from labkit.figures import loss_curves
from labkit.recipe.recipe import Recipe
from labkit.training.history import History
from labkit.training.race import Race

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go


class RacePanel:
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
        self.interactive = interactive
        if not interactive:
            executor = SynchronousExecutor()
        self.race = Race(recipes, executor=executor)
        if interactive:
            self._build()
        else:
            self.race.run()

    @property
    def histories(self) -> dict[str, History]:
        """Each contender's history, by its label."""
        return self.race.histories

    @property
    def _steps(self) -> int:
        return max(recipe.steps for recipe in self.race.recipes)

    def figure(self) -> go.Figure:
        """A static figure of the race as it is."""
        return loss_curves(self.histories, steps=self._steps)

    def table(self) -> Table:
        """One row a contender."""
        return Table(self.race.table())

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(self.figure(), self.table())

    def _specs(self) -> Mapping[Any, Any]:
        return {self._picture: loss_curves.spec(self.histories, steps=self._steps)}

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure
        from labkit.panels.painter import Painter

        self._picture = LiveFigure()
        self.buttons = {
            name: widgets.Button(
                description=name, icon=icon, tooltip=tip, layout=widgets.Layout(width="auto")
            )
            for name, icon, tip in (
                ("Race", "play", "train all contenders"),
                ("Pause", "pause", "stop after this step"),
                ("Rewind", "fast-backward", "all back to their initial weights"),
            )
        }
        self.buttons["Race"].button_style = "primary"
        for name, action in (
            ("Race", self._play),
            ("Pause", self._pause),
            ("Rewind", self._rewind),
        ):
            self.buttons[name].on_click(action)
        self.contenders = widgets.VBox()
        self.difference = widgets.Text(
            description="new contender",
            placeholder="optimizer=sgd lr=0.1",
            tooltip="how it differs from the first contender",
            style={"description_width": "auto"},
            layout=widgets.Layout(width="360px"),
        )
        self.add = widgets.Button(
            description="Add", icon="plus", layout=widgets.Layout(width="auto")
        )
        self.add.on_click(self._add)
        self.message = widgets.HTML()
        self.status = widgets.HTML()
        self._painter = Painter(self._specs, self._tell, lambda: self.race.running)
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HBox(list(self.buttons.values())),
                self.status,
                self._picture,
                self.contenders,
                widgets.HBox([self.difference, self.add]),
                self.message,
            ]
        )
        self._list()
        self._painter.paint()

    def _list(self) -> None:
        """Show the contenders, each with a button that takes it out."""
        import ipywidgets as widgets

        rows = []
        for index, (label, shared) in enumerate(
            zip(self.race.labels, self.race.shares_start, strict=True)
        ):
            remove = widgets.Button(
                description="Remove",
                tooltip=f"take {label} out of the race",
                disabled=len(self.race.recipes) == 1,
                layout=widgets.Layout(width="auto"),
            )
            remove.on_click(lambda _button, index=index: self._remove(index))
            start = "same initial weights" if shared else "initial weights of its own"
            rows.append(
                widgets.HBox([remove, widgets.HTML(f"<b>{html.escape(label)}</b> · {start}")])
            )
        self.contenders.children = rows

    def _tell(self) -> None:
        parts = [f"<b>{self.race.state}</b>", f"step {self.race.steps_done:,} of {self._steps:,}"]
        if self.race.speed:
            parts.append(f"{self.race.speed:,.0f} rounds/s")
        parts += [html.escape(f"{label}: {why}") for label, why in self.race.findings.items()]
        line = " · ".join(parts)
        if self.status.value != line:
            self.status.value = line
        self.buttons["Race"].disabled = self.race.running or self.race.over
        self.buttons["Pause"].disabled = not self.race.running

    def _play(self, _button: Any) -> None:
        self.race.play()
        if self.race.running:
            self._painter.start()
        else:
            self._painter.paint()

    def _pause(self, _button: Any) -> None:
        self.race.pause()
        self._painter.join(2.0)

    def _rewind(self, _button: Any) -> None:
        self.race.rewind()
        self._painter.join(2.0)
        self._painter.paint()

    def _add(self, _button: Any) -> None:
        self._change(
            lambda: self.race.add(self.race.recipes[0].replace_text(self.difference.value))
        )

    def _remove(self, index: int) -> None:
        self._change(lambda: self.race.remove(index))

    def _change(self, change: Any) -> None:
        try:
            change()
        except LabError as error:
            self.message.value = (
                "<span role='alert' style='color:var(--jp-error-color1,#b00)'>"
                f"{html.escape(str(error))}</span>"
            )
            return
        self.message.value = ""
        self._list()
        self._painter.join(2.0)
        self._painter.paint()
