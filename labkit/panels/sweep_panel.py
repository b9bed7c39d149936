"""A sweep as a map to click on: every cell is a run, and its weights converge below."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from labkit import views
from labkit.core.errors import LabError, RecipeError, unknown
from labkit.core.executors import ThreadExecutor
from labkit.core.parameters import spell
from labkit.core.table import Table
from labkit.core.threads import one_thread
from labkit.figures import Spec, loss_curves, sweep_map
from labkit.figures.sweep import WORDS, best_cell
from labkit.panels.sweep_plan import LRS, ROWS, Plan, read_rates, read_values, spell_all
from labkit.recipe.recipe import Recipe
from labkit.training.history import History
from labkit.training.sweeps import Sweep, sweep

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

# Views of one moment: for these the slider goes back through the run.
MOMENTS = frozenset({"boundary", "fit", "digits", "heatmap", "distribution", "network"})
EVERY_S = 0.15  # between two words on the progress


class Halted(BaseException):
    """Somebody pressed Stop."""


class SweepPanel:
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
        self.recipe = recipe or Recipe()
        field, values = (rows, ROWS.get(rows, ())) if isinstance(rows, str) else rows
        if metric not in WORDS:
            raise RecipeError(unknown("metric", metric, WORDS))
        self.metric = metric
        self.view = views.VIEWS[view].name
        self.tensor = ""
        self.interactive = interactive
        self.result: Sweep | None = None
        self._chosen: int | None = None
        self._halt = threading.Event()
        self._running = False
        self._executor = executor or ThreadExecutor("labkit-sweep")
        self.plan = Plan.of(self.recipe, field, values, lrs)
        self._wanted = self.plan.place(*chosen) if chosen else None
        if interactive:
            self._build()
        else:
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
        """A sweep is over: look at the cell that was asked for, or at the best."""
        self.plan, self.result = plan, result
        best = self.best()
        self._chosen = self._wanted
        if self._chosen is None:
            self._chosen = plan.place(*best) if best else 0
        self._wanted = None

    # --- figures -----------------------------------------------------------------------

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

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(self.figure(), self.member_figure())

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        style = {"description_width": "104px"}
        wide = widgets.Layout(width="auto", flex="1 1 330px")
        fields = list(dict.fromkeys([*ROWS, self.plan.field]))
        self.field_selector = widgets.Dropdown(
            options=[(name.replace("_", " "), name) for name in fields],
            value=self.plan.field,
            description="rows",
            tooltip="what changes from row to row",
            style=style,
            layout=widgets.Layout(width="260px"),
        )
        self.values_text = widgets.Text(
            value=spell_all(self.plan.values),
            description="their values",
            tooltip="names or numbers with commas between them",
            continuous_update=False,
            style=style,
            layout=wide,
        )
        self.lrs_text = widgets.Text(
            value=spell_all(self.plan.lrs),
            description="learning rates",
            tooltip="numbers with commas between them, or: 0.001 to 1 in 7",
            continuous_update=False,
            style=style,
            layout=wide,
        )
        self.steps = widgets.BoundedIntText(
            value=self.recipe.steps,
            min=1,
            max=100_000,
            description="steps",
            tooltip="of every run",
            style=style,
            layout=widgets.Layout(width="260px"),
        )
        metrics = [name for name in WORDS if self.recipe.data().classes or "loss" in name]
        self.metric_selector = widgets.Dropdown(
            options=[(WORDS[name], name) for name in metrics],
            value=self.metric if self.metric in metrics else "val_loss",
            description="colour",
            style={"description_width": "auto"},
            layout=widgets.Layout(width="250px"),
        )
        self.run_button = widgets.Button(
            description="Run the sweep",
            icon="play",
            button_style="primary",
            tooltip="train one network for each cell",
            layout=widgets.Layout(width="auto"),
        )
        self.stop_button = widgets.Button(
            description="Stop",
            icon="stop",
            tooltip="end the sweep; what it has trained is dropped",
            disabled=True,
            layout=widgets.Layout(width="auto"),
        )
        self.progress = widgets.IntProgress(max=1000, layout=widgets.Layout(width="220px"))
        self.status = widgets.HTML()
        self.message = widgets.HTML()
        self.member_selector = widgets.Dropdown(
            description="look at", style={"description_width": "auto"}
        )
        self.view_selector = widgets.Dropdown(
            description="view", style={"description_width": "auto"}
        )
        self.tensor_selector = widgets.Dropdown(
            description="tensor", style={"description_width": "auto"}
        )
        self.moment = widgets.SelectionSlider(
            options=[("end", 0)],
            description="at step",
            tooltip="go back through this run",
            style={"description_width": "auto"},
            layout=widgets.Layout(width="380px"),
        )
        self.words = widgets.HTML()
        self._map, self._loss, self._picture = LiveFigure(), LiveFigure(), LiveFigure()
        self._map.on_click(self._clicked)
        self.run_button.on_click(self._run)
        self.stop_button.on_click(self._stop)
        self.field_selector.observe(self._other_field, "value")
        self.metric_selector.observe(self._other_metric, "value")
        self.member_selector.observe(self._other_member, "value")
        for selector in (self.view_selector, self.tensor_selector, self.moment):
            selector.observe(self._other_look, "value")
        half = widgets.Layout(flex="1 1 420px", min_width="320px")
        row = widgets.Layout(flex_flow="row wrap")
        self._below = widgets.VBox(
            [
                widgets.HBox([self.member_selector, self.words], layout=row),
                widgets.HBox([self.view_selector, self.tensor_selector, self.moment], layout=row),
                widgets.HBox(
                    [
                        widgets.VBox([self._picture], layout=half),
                        widgets.VBox([self._loss], layout=half),
                    ],
                    layout=row,
                ),
            ],
            layout=widgets.Layout(display="none"),
        )
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HBox([self.field_selector, self.values_text], layout=row),
                widgets.HBox([self.steps, self.lrs_text], layout=row),
                widgets.HBox(
                    [self.run_button, self.stop_button, self.progress, self.metric_selector],
                    layout=row,
                ),
                self.status,
                self.message,
                self._map,
                self._below,
            ]
        )
        self._filling = False
        self._say(f"ready · {len(self.plan.recipes)} networks to train")
        self._map.show(
            _waiting(len(self.plan.values), "Press Run the sweep: each cell is a network.")
        )

    # --- running (on another thread) ------------------------------------------------------

    def _run(self, _button: Any) -> None:
        if self._running:
            return
        try:
            recipe = self.recipe.replace(steps=self.steps.value)
            field = self.field_selector.value
            values, lrs = (
                read_values(field, self.values_text.value),
                read_rates(self.lrs_text.value),
            )
            plan = Plan.of(recipe, field, values, lrs)
        except LabError as error:
            self._complain(error)
            return
        self._complain(None)
        self._halt.clear()
        self._running = True
        self._lock_controls()
        self.progress.value = 0
        self._executor.submit(self._work, plan)

    def _work(self, plan: Plan) -> None:
        """The sweep itself, on the executor's thread."""
        since = time.perf_counter()
        try:
            with one_thread():
                result = sweep(plan.recipes, progress=self._progressed(len(plan.recipes)))
            self._take(plan, result)
            self.progress.value = self.progress.max
            gone = sum(history.finding is not None for history in result.histories)
            words = f"<b>finished</b> · {len(result)} networks in {_time(since)}"
            self._say(words + (f" · {gone} diverged" if gone else ""))
            self._show_result()
        except Halted:
            self._say("<b>stopped</b> · the networks it was training are dropped")
        except LabError as error:
            self._complain(error)
            self._say("not run")
        except Exception as error:
            self._complain(LabError(f"the sweep failed: {type(error).__name__}: {error}"))
            self._say("not run")
            raise
        finally:
            self._running = False
            self._lock_controls()

    def _progressed(self, networks: int) -> Callable[[int, int], None]:
        since = time.perf_counter()
        told = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if self._halt.is_set():
                raise Halted
            now = time.perf_counter()
            if now - told >= EVERY_S:
                told = now
                self.progress.value = round(self.progress.max * done / max(total, 1))
                left = (now - since) * (total - done) / max(done, 1)
                self._say(
                    f"<b>running</b> · {networks} networks · {done:,} of {total:,} "
                    f"steps · about {max(1, round(left))} s to go"
                )

        return progress

    def _stop(self, _button: Any) -> None:
        self._halt.set()

    def _lock_controls(self) -> None:
        self.run_button.disabled = self._running
        self.stop_button.disabled = not self._running
        for widget in (self.field_selector, self.values_text, self.lrs_text, self.steps):
            widget.disabled = self._running
        # A member belongs to the last sweep, a plan may be that of the next.
        for widget in (self.member_selector, self.metric_selector):
            widget.disabled = self._running

    def _say(self, line: str) -> None:
        self.status.value = line

    def _complain(self, error: LabError | None) -> None:
        self.message.value = (
            "" if error is None else f"<div role='alert'>{_alarm(str(error))}</div>"
        )

    # --- looking -----------------------------------------------------------------------

    def _show_result(self) -> None:
        self._filling = True
        try:
            self.member_selector.options = [
                (f"{name}{self._ending(k)}", k) for k, name in enumerate(self.plan.names)
            ]
        finally:
            self._filling = False
        self._below.layout.display = ""
        self._look_at(self._chosen or 0)

    def _ending(self, index: int) -> str:
        assert self.result is not None
        return " (diverged)" if self.result.histories[index].finding else ""

    def _clicked(self, point: dict[str, Any]) -> None:
        """A cell of the map: its point is [row, column]."""
        cell = point.get("point")
        if self.result is None or self._running or not isinstance(cell, list | tuple):
            return
        row, column = cell
        self._look_at(int(row) * len(self.plan.lrs) + int(column))

    def _other_member(self, change: Any) -> None:
        if not self._filling and change["new"] is not None:
            self._look_at(change["new"])

    def _look_at(self, index: int) -> None:
        """Choose a member: frame its cell, offer its views, paint."""
        from labkit.panels.live_figure import show_together

        assert self.result is not None
        self._chosen = index
        history, recipe = self.result.histories[index], self._member
        fitting = [name for name in views.views_for(recipe) if name != "loss"]
        self.view = self.view if self.view in fitting else "weights"
        self.tensor = self._tensor_of(history)
        steps, _ = history.snapshots(history.layout.names[0], most=64)
        self._filling = True  # new options select their first for a moment
        try:
            self.member_selector.value = index
            titles = [(views.VIEWS[name].traits["title"], name) for name in fitting]
            self.view_selector.options, self.view_selector.value = titles, self.view
            names = history.layout.names
            self.tensor_selector.options, self.tensor_selector.value = names, self.tensor
            self.moment.options = [(f"{step:,}", int(step)) for step in steps]
            self.moment.index = len(steps) - 1
        finally:
            self._filling = False
        self.words.value = self._describe(index)
        self._show_selectors()
        show_together({self._map: self._map_spec(), **self._member_specs()})

    def _describe(self, index: int) -> str:
        assert self.result is not None
        history = self.result.histories[index]
        summary = history.summary()
        if history.finding is not None:
            return _alarm(history.finding["message"])
        parts = [
            f"{WORDS[name]} {summary[name]:.1%}"
            if name.endswith("accuracy")
            else f"{WORDS[name]} {summary[name]:.4g}"
            for name in WORDS
            if name in summary and summary[name] == summary[name]
        ]
        return " · ".join(parts)

    def _show_selectors(self) -> None:
        per_tensor = views.VIEWS[self.view].traits["per_tensor"]
        self.tensor_selector.layout.display = "" if per_tensor else "none"
        self.moment.layout.display = "" if self.view in MOMENTS else "none"

    def _other_look(self, _change: Any) -> None:
        from labkit.panels.live_figure import show_together

        if self._filling or self.result is None:
            return
        self.view, self.tensor = self.view_selector.value, self.tensor_selector.value
        self._show_selectors()
        show_together(self._member_specs())

    def _member_specs(self) -> Mapping[Any, Spec]:
        assert self.result is not None
        assert self._chosen is not None
        history, recipe = self.result.histories[self._chosen], self._member
        seen = history
        last = len(self.moment.options) - 1
        if self.view in MOMENTS and self.moment.index not in (None, last):
            seen = cast(History, _Moment(history, self.moment.value))
        with one_thread():
            picture = views.draw(self.view, seen, recipe, self.tensor)
        return {
            self._picture: _named_for(picture, self.plan.names[self._chosen]),
            self._loss: loss_curves.spec(history, steps=recipe.steps, height=340),
        }

    def _other_metric(self, _change: Any) -> None:
        self.metric = self.metric_selector.value
        if self.result is not None and not self._running:
            self._map.show(self._map_spec())

    def _other_field(self, _change: Any) -> None:
        """Other rows: offer values for them."""
        values = ROWS.get(self.field_selector.value) or [
            getattr(self.recipe, self.field_selector.value)
        ]
        self.values_text.value = spell_all(values)


class _Moment:
    """A history as it was at a step: what asks for the weights now gets those of then."""

    def __init__(self, history: History, step: int) -> None:
        self._history, self._step = history, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    def flat(self, step: int | None = None) -> np.ndarray:
        return self._history.flat(self._step if step is None else step)

    def weights(self, step: int | None = None) -> dict[str, np.ndarray]:
        return self._history.weights(self._step if step is None else step)


def _named_for(spec: Spec, name: str) -> Spec:
    """The same picture, which says to a screen reader whose it is."""
    layout = dict(spec["layout"])
    label = layout.get("meta", {}).get("label", "")
    return {**spec, "layout": {**layout, "meta": {"label": f"{label}: {name}"}}}


def _waiting(rows: int, words: str) -> Spec:
    """An empty place for the map, with what to do."""
    from labkit.figures import theme
    from labkit.figures.axes import axis

    layout = theme.layout(words, height=max(180, 112 + 38 * min(rows, 16)), legend=False)
    hidden = {"showticklabels": False, "showgrid": False, "ticks": ""}
    layout["xaxis"], layout["yaxis"] = axis("", [0, 1], **hidden), axis("", [0, 1], **hidden)
    note = {"text": words, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    layout["annotations"] = [{**note, "showarrow": False, "font": {"size": 14}}]
    return {"data": [], "layout": layout}


def _alarm(words: str) -> str:
    return f"<span style='color:var(--jp-error-color1,#b00)'>{html.escape(words)}</span>"


def _time(since: float) -> str:
    return f"{time.perf_counter() - since:.1f} s"
