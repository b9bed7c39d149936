"""The panel: controls, buttons, and the weights converging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit import views
from labkit.core.executors import SynchronousExecutor
from labkit.core.table import Table
from labkit.diagnosis.causes import diagnose
from labkit.figures import loss_curves
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.training.session import Player, Session
from labkit.training.trainer import Trainer
from labkit.workshop.presets import PRESETS, Preset

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go


def status(player: Player, history: History, total: int) -> str:
    """The status line: state, step, loss, accuracy, steps per second."""
    parts = [f"<b>{player.state}</b>", f"step {player.steps_done:,} of {total:,}"]
    for name, label in (("val_loss", "validation loss"), ("val_accuracy", "accuracy")):
        _, values = history.curve(name)
        if len(values) and values[-1] == values[-1]:
            shown = f"{values[-1]:.1%}" if "accuracy" in name else f"{values[-1]:.4g}"
            parts.append(f"{label} {shown}")
    if player.speed:
        parts.append(f"{player.speed:,.0f} steps/s")
    return " · ".join(parts)


class TrainPanel:
    """A recipe under the reader's hand: edit, train, pause, step, rewind, look.

    Displayed in a notebook it is a widget; with `interactive=False` it trains to the end
    and shows plain figures and what was found wrong, and no widget is made.

    Args:
        recipe: what it starts from; the defaults if none.
        presets: names in `labkit.PRESETS` to choose from, each a failure ready to train.
        interactive: whether somebody is there to use it.
        view: the name of the first view (see `labkit.views`); the task's own by default.
        executor: where training runs, for tests.

    Attributes:
        session: the run; `session.history` is what it recorded.

    Raises:
        RecipeError: an unknown view or preset.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        presets: Sequence[str] = (),
        interactive: bool = True,
        view: str | None = None,
        executor: Executor | None = None,
    ) -> None:
        recipe = recipe or Recipe()
        self.presets = [PRESETS[name] for name in presets]
        self.interactive = interactive
        if not interactive:
            executor = SynchronousExecutor()
        self.session = Session(recipe, executor=executor)
        self.view = views.VIEWS[view].name if view else views.views_for(recipe)[0]
        self.tensor = self.history.layout.names[0]
        self._diagnosis: tuple[Trainer, int, list[Finding]] | None = None
        if interactive:
            self._build()
        else:
            self.session.run()

    @property
    def recipe(self) -> Recipe:
        """The recipe in force."""
        return self.session.recipe

    @property
    def history(self) -> History:
        """What has been recorded since the beginning."""
        return self.session.history

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with the run as it stands; nothing before it begins or while it runs."""
        trainer = self.session.trainer
        begun = trainer.step or trainer.finding
        if self.session.running or not begun or trainer.history is None:
            return []
        if self._diagnosis is None or self._diagnosis[:2] != (trainer, trainer.step):
            self._diagnosis = trainer, trainer.step, diagnose(trainer.history)
        return self._diagnosis[2]

    # --- figures -----------------------------------------------------------------------

    def figure(self, view: str | None = None, tensor: str | None = None) -> go.Figure:
        """A static figure of the run as it is: the view that the panel shows, or another."""
        name = view or self.view
        return views.figure(name, self.history, self.recipe, tensor or self.tensor)

    def _specs(self) -> Mapping[Any, Any]:
        trainer = self.session.trainer  # taken once: another recipe may replace it meanwhile,
        history, recipe = trainer.history, trainer.recipe  # and what is shown may not fit it
        assert history is not None
        fitting, names = views.views_for(recipe), history.layout.names
        view = self.view if self.view in fitting else fitting[0]
        tensor = self.tensor if self.tensor in names else names[0]
        return {
            self._loss: loss_curves.spec(history, steps=recipe.steps, height=260),
            self._picture: views.draw(view, history, recipe, tensor),
        }

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(self.figure("loss"), self.figure())
            if self.findings:
                display(
                    Table(
                        {"kind": found.kind, "what": found.message, "remedy": found.remedy}
                        for found in self.findings
                    )
                )

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.controls import RecipeControls
        from labkit.panels.findings_box import FindingsBox, PresetSelector
        from labkit.panels.live_figure import LiveFigure
        from labkit.panels.painter import Painter

        self.controls = RecipeControls(self.recipe, self._change)
        self._loss = LiveFigure()
        self._picture = LiveFigure(height=330)
        self.buttons = {
            name: widgets.Button(
                description=name, icon=icon, tooltip=tip, layout=widgets.Layout(width="auto")
            )
            for name, icon, tip in (
                ("Train", "play", "train to the end of the recipe's steps"),
                ("Pause", "pause", "stop after this step"),
                ("Step", "step-forward", "make one single step"),
                ("Rewind", "fast-backward", "back to the same initial weights"),
                ("New weights", "random", "draw other initial weights (the next seed)"),
            )
        }
        self.buttons["Train"].button_style = "primary"
        actions = (self._train, self._pause, self._step, self._rewind, self._new_weights)
        for button, action in zip(self.buttons.values(), actions, strict=True):
            button.on_click(action)
        self.view_selector = widgets.Dropdown(
            description="view", style={"description_width": "auto"}
        )
        self.tensor_selector = widgets.Dropdown(
            description="tensor", style={"description_width": "auto"}
        )
        self._offer_views()
        self.view_selector.observe(self._look, "value")
        self.tensor_selector.observe(self._look, "value")
        self.status = widgets.HTML()
        self.findings_box = FindingsBox(self._mend)
        self.preset_selector = PresetSelector(self.presets, self._fail, self.recipe)
        self._painter = Painter(self._specs, self._tell, lambda: self.session.running)
        right = widgets.VBox(
            [
                self.preset_selector,
                widgets.HBox(list(self.buttons.values()), layout=widgets.Layout(flex_flow="wrap")),
                self.status,
                self.findings_box,
                self._loss,
                widgets.HBox([self.view_selector, self.tensor_selector]),
                self._picture,
            ],
            layout=widgets.Layout(flex="8 1 340px", min_width="340px"),
        )
        self.widget: ipywidgets.Widget = widgets.HBox(
            [self.controls.widget, right], layout=widgets.Layout(flex_flow="row wrap")
        )
        self._painter.paint()

    def _offer_views(self) -> None:
        """Fill the selectors with what fits the recipe, keeping the choice if it does."""
        fitting = [name for name in views.views_for(self.recipe) if name != "loss"]
        if self.view not in fitting:
            self.view = fitting[0]
        names = self.history.layout.names
        if self.tensor not in names:
            self.tensor = names[0]
        titles = [(views.VIEWS[name].traits["title"], name) for name in fitting]
        self._offering = True  # new options select their first for a moment
        self.view_selector.options, self.view_selector.value = titles, self.view
        self.tensor_selector.options, self.tensor_selector.value = names, self.tensor
        self._offering = False
        self._show_tensor_selector()

    def _show_tensor_selector(self) -> None:
        per_tensor = views.VIEWS[self.view].traits["per_tensor"]
        self.tensor_selector.layout.display = "" if per_tensor else "none"

    def _look(self, _change: Any) -> None:
        if self._offering:
            return
        self.view, self.tensor = self.view_selector.value, self.tensor_selector.value
        self._show_tensor_selector()
        self._paint()

    def _change(self, recipe: Recipe) -> None:
        """The controls gave another recipe."""
        if self.session.update(recipe):
            self._offer_views()
        self.preset_selector.clear()
        self._paint()

    def _begin(self, recipe: Recipe) -> None:
        """Take over a recipe that the controls did not give, ready to train."""
        if not self.session.update(recipe):
            self.session.rewind()
        self.controls.set(recipe)
        self._offer_views()
        self._painter.join(2.0)
        self._painter.paint()

    def _mend(self, finding: Finding) -> None:
        """The remedy of a finding was asked for."""
        self.preset_selector.clear()
        self._begin(self.recipe.replace(**finding.changes))

    def _fail(self, preset: Preset) -> None:
        """A preset was chosen."""
        self.view, self.tensor = preset.view, preset.tensor or self.tensor
        self._begin(preset.recipe)

    def _paint(self) -> None:
        """Paint now, or leave it to the painter that is at work."""
        if self.session.running:
            self._painter.start()
        else:
            self._painter.paint()

    def _tell(self) -> None:
        line = status(self.session, self.history, self.recipe.steps)
        findings = self.findings
        self.findings_box.show(findings)
        self.preset_selector.tell(ended=bool(findings))
        if self.status.value != line:  # last: a run that is told to be over has its findings
            self.status.value = line
        running = self.session.running
        over = self.session.over
        for name, disabled in (
            ("Train", running or over),
            ("Pause", not running),
            ("Step", running or over),
        ):
            self.buttons[name].disabled = disabled

    def _train(self, _button: Any) -> None:
        self.session.play()
        self._paint()

    def _pause(self, _button: Any) -> None:
        self.session.pause()
        self._painter.join(2.0)

    def _step(self, _button: Any) -> None:
        self.session.step()
        self._painter.paint()

    def _rewind(self, _button: Any) -> None:
        self.session.rewind()
        self._painter.join(2.0)
        self._painter.paint()

    def _new_weights(self, _button: Any) -> None:
        self._begin(self.recipe.replace(seed=(self.recipe.seed + 1) % 2**31))
