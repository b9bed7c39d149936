"""The panel: controls, buttons, and the weights converging."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit import views
from labkit.core.table import Table
from labkit.diagnosis.causes import diagnose
from labkit.figures import loss_curves
from labkit.figures.base import Spec
from labkit.panels.markup import write
from labkit.panels.player_panel import PlayerPanel
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


class TrainPanel(PlayerPanel):
    """Edit a recipe, train it, pause, step, rewind, and watch its weights.

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

    pictures = ("loss", "picture")

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        presets: Sequence[str] = (),
        interactive: bool = True,
        view: str | None = None,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(interactive=interactive, executor=executor)
        recipe = recipe or Recipe()
        self.presets = [PRESETS[name] for name in presets]
        self.session = Session(recipe, executor=self._executor)
        self.view = views.VIEWS[view].name if view else views.views_for(recipe)[0]
        self.tensor = self.history.layout.names[0]
        self._diagnosis: tuple[Trainer, int, list[Finding]] | None = None
        self._open()

    @property
    def player(self) -> Player:
        """The session."""
        return self.session

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
        if self.session.running or not begun:
            return []
        if self._diagnosis is None or self._diagnosis[:2] != (trainer, trainer.step):
            self._diagnosis = trainer, trainer.step, diagnose(trainer.history)
        return self._diagnosis[2]

    # --- pictures ----------------------------------------------------------------------

    def figure(self, view: str | None = None, tensor: str | None = None) -> go.Figure:
        """A static figure of the run as it is: the view that the panel shows, or another."""
        name = view or self.view
        return views.figure(name, self.history, self.recipe, tensor or self.tensor)

    def static(self) -> list[Any]:
        """Both figures, and a table of what was found wrong."""
        shown: list[Any] = [self.figure("loss"), self.figure()]
        if self.findings:
            shown.append(
                Table(
                    {"kind": found.kind, "what": found.message, "remedy": found.remedy}
                    for found in self.findings
                )
            )
        return shown

    def _specs(self) -> dict[str, Spec]:
        trainer = self.session.trainer  # taken once: another recipe may replace it meanwhile,
        history, recipe = trainer.history, trainer.recipe  # and what is shown may not fit it
        assert history is not None
        fitting, names = views.views_for(recipe), history.layout.names
        view = self.view if self.view in fitting else fitting[0]
        tensor = self.tensor if self.tensor in names else names[0]
        return {
            "loss": loss_curves.spec(history, steps=recipe.steps, height=260),
            "picture": views.draw(view, history, recipe, tensor),
        }

    def _tell(self) -> None:
        super()._tell()
        findings = self.findings
        self.findings_box.show(findings)
        self.preset_selector.tell(ended=bool(findings))
        running, over = self.session.running, self.session.over
        for name, disabled in (
            ("Train", running or over),
            ("Pause", not running),
            ("Step", running or over),
        ):
            self.buttons[name].disabled = disabled
        # Last: a run whose status says that it is over has its findings.
        write(self.status, status(self.session, self.history, self.recipe.steps))

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        from labkit.panels.controls import RecipeControls
        from labkit.panels.findings_box import FindingsBox, PresetSelector
        from labkit.panels.parts import Action
        from labkit.panels.view_picker import ViewPicker

        self.controls = RecipeControls(self.recipe, self._change, edits=self.edits)
        self.buttons = self.make_buttons(
            Action("Train", "play", "train to the end of the steps", self._play, "primary"),
            Action("Pause", "pause", "stop after this step", self._pause),
            Action("Step", "step-forward", "make one single step", self._step),
            Action("Rewind", "fast-backward", "back to the same initial weights", self._rewind),
            Action(
                "New weights", "random", "draw other initial weights (the next seed)",
                self._new_weights,
            ),
        )  # fmt: skip
        self._picker = ViewPicker(self.edits, self.on_edit, self._look)
        self.view_selector = self._picker.view_selector
        self.tensor_selector = self._picker.tensor_selector
        self.findings_box = FindingsBox(self.guard(self._mend))
        self.preset_selector = PresetSelector(
            self.presets, self.guard(self._choose_preset), self.recipe
        )
        self.live["picture"].height = 330
        return [self.controls.widget]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        (editor,) = controls
        return parts.beside(
            editor,
            [
                self.preset_selector,
                parts.row(*self.buttons.values()),
                self.status,
                self.message,
                self.findings_box,
                self.live["loss"],
                parts.row(self.view_selector, self.tensor_selector),
                self.live["picture"],
            ],
        )

    def _fill(self) -> None:
        self._offer_views()

    def _offer_views(self) -> None:
        """Fill the selectors with what fits the recipe, keeping the choice if it does."""
        from labkit.panels.view_picker import fitting_views

        titles, names = fitting_views(self.recipe), self.history.layout.names
        if self.view not in titles:
            self.view = next(iter(titles))
        if self.tensor not in names:
            self.tensor = names[0]
        self._picker.offer(titles, self.view, names, self.tensor)

    def _look(self, view: str, tensor: str) -> None:
        self.view, self.tensor = view, tensor
        self.paint()

    def _change(self, recipe: Recipe) -> None:
        """The controls gave another recipe."""
        if self.session.update(recipe):
            self._offer_views()
        self.preset_selector.clear()
        self.paint()

    def _begin(self, recipe: Recipe) -> None:
        """Take over a recipe that the controls did not give, ready to train."""
        if not self.session.update(recipe):
            self.session.rewind()
        self.controls.set(recipe)
        self._offer_views()
        self._settle()

    def _mend(self, finding: Finding) -> None:
        """The remedy of a finding was wanted."""
        self.preset_selector.clear()
        self._begin(self.recipe.replace(**finding.changes))

    def _choose_preset(self, preset: Preset) -> None:
        self.view, self.tensor = preset.view, preset.tensor or self.tensor
        self._begin(preset.recipe)

    def _new_weights(self) -> None:
        self._begin(self.recipe.replace(seed=(self.recipe.seed + 1) % 2**31))
