"""A sweep as a map to click on: every cell is a run, and its weights converge below."""

from __future__ import annotations

import html
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from labkit import views
from labkit.core.errors import LabError, RecipeError, unknown
from labkit.core.formatting import duration, rough_duration
from labkit.core.parameters import spell
from labkit.core.table import Table
from labkit.core.threads import one_thread
from labkit.figures import Spec, loss_curves, sweep_map
from labkit.figures.sweep import WORDS, best_cell
from labkit.panels.base import Panel
from labkit.panels.markup import RED, write
from labkit.panels.sweep_plan import LRS, ROWS, Plan, read_rates, read_values, spell_all
from labkit.panels.sweep_views import MOMENTS, Moment, empty_map, last_values, named_for
from labkit.recipe.recipe import Recipe
from labkit.training.history import History
from labkit.training.sweeps import Sweep, sweep

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

LABEL = "104px"


class SweepPanel(Panel):
    """Learning rates in columns, something else in rows; click a cell and see that run.

    With `interactive=False` the sweep runs at once and plain figures are shown: the map,
    and the weights of one member.

    Args:
        recipe: everything that the rows and columns leave alone.
        rows: a field of the recipe and its values: `("init", ["lsuv", "zeros"])`, or just
            the field.
        lrs: the learning rates.
        metric: what the colours show: `val_loss`, `val_accuracy`, `train_loss` or
            `train_accuracy`.
        chosen: the cell to look at, as its row's value and its learning rate; by default
            the best.
        view: how to look at it (see `labkit.views`).
        interactive: whether somebody is there to use it.
        executor: where the sweep runs, for tests.

    Attributes:
        result: the last whole sweep (`labkit.sweep`), or None.
        plan: its rows, columns and recipes; without a result, those to come.

    Raises:
        RecipeError: a field or value that a recipe does not know, or a cell, metric or view
            that is not there.
    """

    pictures = ("map", "member", "loss")

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        rows: str | tuple[str, Sequence[Any]] = "init",
        lrs: Sequence[float] = LRS,
        metric: str = "val_loss",
        chosen: tuple[Any, float] | None = None,
        view: str = "weights",
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(interactive=interactive, executor=executor)
        self.recipe = recipe or Recipe()
        field, values = (rows, ROWS.get(rows, ())) if isinstance(rows, str) else rows
        if metric not in WORDS:
            raise RecipeError(unknown("metric", metric, WORDS))
        self.metric = metric
        self.view = views.VIEWS[view].name
        self.tensor = ""
        self.result: Sweep | None = None
        self._chosen: int | None = None
        self._seconds = 0.0  # that the last sweep took
        self.plan = Plan.of(self.recipe, field, values, lrs)
        self._wanted = self.plan.place(*chosen) if chosen else None
        self._open()

    def _headless(self) -> None:
        self._take(self.plan, sweep(self.plan.recipes))

    # --- what came out -----------------------------------------------------------------

    @property
    def chosen(self) -> int | None:
        """The number of the member that is looked at: rows first, learning rates fastest."""
        return self._chosen

    @property
    def history(self) -> History | None:
        """What the chosen member recorded."""
        if self.result is None or self._chosen is None:
            return None
        return self.result.histories[self._chosen]

    def values_of(self, metric: str) -> np.ndarray:
        """A metric of all members at their end, `(rows, learning rates)`; NaN: diverged.

        Raises:
            LabError: nothing has been swept yet.
        """
        if self.result is None:
            raise LabError("there is no sweep yet: press Run the sweep")
        return self.result.values(metric).reshape(len(self.plan.values), len(self.plan.lrs))

    def best(self, metric: str | None = None) -> tuple[Any, float] | None:
        """The best cell, as its row's value and its learning rate; None if all diverged."""
        metric = metric or self.metric
        cell = best_cell(self.values_of(metric), metric)
        return (self.plan.values[cell[0]], self.plan.lrs[cell[1]]) if cell else None

    def table(self) -> Table:
        """One row a member."""
        return Table(self.result.table() if self.result else [])

    def _take(self, plan: Plan, result: Sweep) -> None:
        """A sweep is over: look at the cell that was wanted, or at the best."""
        self.plan, self.result = plan, result
        best = self.best()
        self._chosen = self._wanted
        if self._chosen is None:
            self._chosen = plan.place(*best) if best else 0
        self._wanted = None

    # --- pictures ----------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """The map as a static figure."""
        import plotly.graph_objects as go

        return go.Figure(self._map_spec())

    def member_figure(self, view: str | None = None, tensor: str | None = None) -> go.Figure:
        """A static picture of the chosen member."""
        if self.result is None or self._chosen is None:
            raise LabError("there is no sweep yet: press Run the sweep")
        name, history = view or self._view_for(self._member), self.result.histories[self._chosen]
        found = views.figure(name, history, self._member, tensor or self._tensor_of(history))
        title = f"{found.layout.title.text}: {self.plan.names[self._chosen]}"
        return found.update_layout(title_text=title)

    @property
    def _member(self) -> Recipe:
        assert self._chosen is not None
        return self.plan.recipes[self._chosen]

    def _view_for(self, recipe: Recipe) -> str:
        fitting = views.views_for(recipe)
        return self.view if self.view in fitting else "weights"

    def _tensor_of(self, history: History) -> str:
        names = history.layout.names
        return self.tensor if self.tensor in names else names[0]

    def static(self) -> list[Any]:
        """The map and the member that is looked at."""
        return [self.figure(), self.member_figure()]

    def _specs(self) -> dict[str, Spec]:
        if self.result is None or self._chosen is None:
            words = "Press Run the sweep: each cell is a network."
            return {"map": empty_map(len(self.plan.values), words)}
        history, recipe = self.result.histories[self._chosen], self._member
        seen = history
        last = len(self.moment.options) - 1
        if self.view in MOMENTS and self.moment.index not in (None, last):
            seen = cast(History, Moment(history, self.moment.value))
        with one_thread():
            picture = views.draw(self.view, seen, recipe, self.tensor)
        return {
            "map": self._map_spec(),
            "member": named_for(picture, self.plan.names[self._chosen]),
            "loss": loss_curves.spec(history, steps=recipe.steps, height=340),
        }

    def _map_spec(self) -> Spec:
        assert self.result is not None
        assert self._chosen is not None
        return sweep_map.spec(
            self.values_of(self.metric),
            [spell(value) for value in self.plan.values],
            self.plan.lrs,
            metric=self.metric,
            row_title=self.plan.title,
            unit="nats" if self.recipe.data().classes else "squared error",
            chosen=divmod(self._chosen, len(self.plan.lrs)),
        )

    def _tell(self) -> None:
        running = self.job.running
        self.run_button.disabled, self.stop_button.disabled = running, not running
        # A member belongs to the last sweep, a plan may be that of the next.
        for widget in (
            self.field_selector, self.values_text, self.lrs_text, self.steps,
            self.member_selector, self.metric_selector,
        ):  # fmt: skip
            widget.disabled = running
        done = self.job.state == "finished"
        self.progress.value = round(self.progress.max * (1.0 if done else self.job.share))
        self._below.layout.display = "none" if self.result is None else ""
        write(self.member_words, self._describe())
        write(self.status, self._state())

    _job_changed = _tell

    def _state(self) -> str:
        """The status line."""
        job = self.job
        match job.state:
            case "ready":
                return f"ready · {len(self.plan.recipes)} networks to train"
            case "running" | "stopping" if not job.total:
                return f"<b>{job.state}</b>"
            case "running" | "stopping":
                left = rough_duration(job.seconds_left) if job.share else "?"
                return (
                    f"<b>{job.state}</b> · {job.done:,} of {job.total:,} steps · about {left} to go"
                )
            case "stopped":
                return "<b>stopped</b> · the networks it was training are dropped"
            case "failed":
                return "not run"
        assert self.result is not None
        diverged = sum(history.finding is not None for history in self.result.histories)
        line = f"<b>finished</b> · {len(self.result)} networks in {duration(self._seconds)}"
        return line + (f" · {diverged} diverged" if diverged else "")

    def _describe(self) -> str:
        """The chosen member's last values, or what went wrong with it."""
        if self.history is None:
            return ""
        if self.history.finding is not None:
            message = html.escape(self.history.finding["message"])
            return f"<span style='color:{RED}'>{message}</span>"
        return last_values(self.history.summary())

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.view_picker import ViewPicker

        fields = list(dict.fromkeys([*ROWS, self.plan.field]))
        self.field_selector = parts.menu(
            "rows", [(name.replace("_", " "), name) for name in fields], self.plan.field,
            "what changes from row to row", label=LABEL, width="260px",
        )  # fmt: skip
        self.values_text = parts.line(
            "their values", spell_all(self.plan.values),
            "names or numbers with commas between them", label=LABEL,
        )  # fmt: skip
        self.lrs_text = parts.line(
            "learning rates", spell_all(self.plan.lrs),
            "numbers with commas between them, or a range: 1e-3:1:log:7", label=LABEL,
        )  # fmt: skip
        self.steps = widgets.BoundedIntText(
            value=self.recipe.steps,
            min=1,
            max=100_000,
            description="steps",
            tooltip="of every run",
            style={"description_width": LABEL},
            layout=widgets.Layout(width="260px"),
        )
        metrics = [name for name in WORDS if self.recipe.data().classes or "loss" in name]
        self.metric_selector = parts.menu(
            "colour", [(WORDS[name], name) for name in metrics],
            self.metric if self.metric in metrics else "val_loss", width="250px",
        )  # fmt: skip
        self.run_button = parts.button(
            "Run the sweep", "play", "train one network for each cell", style="primary"
        )
        self.stop_button = parts.button(
            "Stop", "stop", "end the sweep; what it has trained is dropped"
        )
        self.progress = widgets.IntProgress(max=1000, layout=widgets.Layout(width="220px"))
        self.member_selector = parts.menu("look at", None, None)
        self._picker = ViewPicker(self.edits, self.on_edit, self._look)
        self.view_selector = self._picker.view_selector
        self.tensor_selector = self._picker.tensor_selector
        self.moment = widgets.SelectionSlider(
            options=[("end", 0)],
            description="at step",
            tooltip="go back through this run",
            style={"description_width": "auto"},
            layout=widgets.Layout(width="380px"),
        )
        self.member_words = widgets.HTML()
        self.live["map"].on_click(self.guard(self._clicked))
        self.on_click(self.run_button, self._run)
        self.on_click(self.stop_button, self.stop)
        self.on_edit(self.field_selector, self._other_field)
        self.on_edit(self.metric_selector, self._other_metric)
        self.on_edit(self.member_selector, self._look_at)
        self.on_edit(self.moment, lambda _step: self.paint())
        return [
            parts.row(self.field_selector, self.values_text),
            parts.row(self.steps, self.lrs_text),
            parts.row(self.run_button, self.stop_button, self.progress, self.metric_selector),
        ]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        self._below = parts.column(
            parts.row(self.member_selector, self.member_words),
            parts.row(self.view_selector, self.tensor_selector, self.moment),
            parts.halves(self.live["member"], self.live["loss"]),
        )
        return parts.column(*controls, self.status, self.message, self.live["map"], self._below)

    def _fill(self) -> None:
        """Offer the members of the last sweep, and the views and moments of the chosen one."""
        from labkit.panels.view_picker import fitting_views

        if self.result is None or self._chosen is None:
            return
        histories = self.result.histories
        self.member_selector.options = [
            (f"{name} (diverged)" if histories[k].finding else name, k)
            for k, name in enumerate(self.plan.names)
        ]
        self.member_selector.value = self._chosen
        history, titles = histories[self._chosen], fitting_views(self._member)
        self.view = self.view if self.view in titles else "weights"
        self.tensor = self._tensor_of(history)
        self._picker.offer(titles, self.view, history.layout.names, self.tensor)
        steps, _ = history.snapshots(history.layout.names[0], most=64)
        self.moment.options = [(f"{step:,}", int(step)) for step in steps]
        self.moment.index = len(steps) - 1
        self._show_moment()

    def _show_moment(self) -> None:
        self.moment.layout.display = "" if self.view in MOMENTS else "none"

    # --- what the controls do ----------------------------------------------------------

    def _run(self) -> None:
        if self.job.running:
            return
        recipe = self.recipe.replace(steps=self.steps.value)
        field = self.field_selector.value
        values = read_values(field, self.values_text.value)
        self.job.request(Plan.of(recipe, field, values, read_rates(self.lrs_text.value)))

    def _work(self, plan: Plan) -> None:
        with one_thread():
            result = sweep(plan.recipes, progress=self.job.progress)
        with self.edits.lock:
            self._seconds = self.job.seconds
            self._take(plan, result)
            self.fill()
        self.paint()

    def _clicked(self, point: dict[str, Any]) -> None:
        """A cell of the map: its point is [row, column]."""
        cell = point.get("point")
        if self.result is None or self.job.running or not isinstance(cell, list | tuple):
            return
        row, column = cell
        self._look_at(int(row) * len(self.plan.lrs) + int(column))

    def _look_at(self, index: int) -> None:
        """Choose a member: frame its cell, offer its views, paint."""
        self._chosen = index
        self.fill()
        self.paint()

    def _look(self, view: str, tensor: str) -> None:
        self.view, self.tensor = view, tensor
        self._show_moment()
        self.paint()

    def _other_metric(self, metric: str) -> None:
        self.metric = metric
        self.paint()

    def _other_field(self, field: str) -> None:
        """Other rows: offer values for them."""
        self.values_text.value = spell_all(ROWS.get(field) or [getattr(self.recipe, field)])
