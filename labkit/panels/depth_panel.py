"""The signal by depth: where a network's weights start, and what becomes of its signal."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Annotated, Any

from labkit.analysis.propagation import Signal, describe, signals, stds
from labkit.core.errors import LabError
from labkit.core.executors import ThreadExecutor
from labkit.core.parameters import Strict, knob, parameters
from labkit.figures import distribution_by_depth, sizes_by_depth
from labkit.figures.base import Spec
from labkit.panels.latest import Latest, alert
from labkit.recipe.recipe import Recipe

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

DEEPEST, WIDEST = 20, 256


class Stack(Strict):
    """The part of a network that the panel's own sliders set: equal hidden layers."""

    depth: Annotated[int, knob(1, DEEPEST, help="how many hidden layers")] = 10
    width: Annotated[int, knob(1, WIDEST, help="units of each hidden layer")] = 64


CHOSEN = ("init", "activation", "task")


class DepthPanel:
    """Activations and gradients layer by layer, at once for every change of the start.

    With `interactive=False` it shows the same as two plain figures and two sentences.

    Args:
        recipe: what it starts from; ten hidden layers of 64 on digits if none. Its hidden
            layers become as wide as the first of them.
        reference: another recipe, whose sizes are drawn as dotted lines to compare with.
        interactive: whether somebody is there to use it.
        executor: where signals are computed, for tests.

    Attributes:
        recipe: the recipe in force.
        flow: its signals, from `labkit.signals`.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        reference: Recipe | None = None,
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        recipe = recipe or Recipe(task="digits", hidden=(64,) * 10)
        hidden = recipe.hidden or (Stack().width,)
        self.recipe = recipe.replace(hidden=(hidden[0],) * len(hidden), network="mlp")
        self.interactive = interactive
        self.flow: list[Signal] = signals(self.recipe)
        self.reference = reference
        self._before = _sizes(signals(reference)) if reference else None
        if interactive:
            self._executor = executor or ThreadExecutor("labkit-depth")
            self._build()

    # --- figures -----------------------------------------------------------------------

    def specs(self) -> tuple[Spec, Spec]:
        """The distribution of activations, and the sizes of activations and gradients."""
        return _specs(self.flow, self._before)

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The same as static figures."""
        import plotly.graph_objects as go

        activations, sizes = self.specs()
        return go.Figure(activations), go.Figure(sizes)

    def words(self) -> list[str]:
        """The numbers in words: one sentence on activations, one on gradients."""
        return describe(self.flow)

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if self.interactive:
            display(self.widget)
        else:
            display(HTML(_said(self.words())), *self.figures())

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.controls import control
        from labkit.panels.live_figure import LiveFigure

        self._latest = Latest(self._executor, self._work, self._say)
        self._filling = False
        self.fields: dict[str, Any] = {}
        known = parameters(Recipe) | parameters(Stack)
        for name, value in self._values().items():
            self._own(name, control(known[name], value))
        self.arguments = widgets.VBox()
        self.summary = widgets.HTML()
        button = widgets.Layout(width="auto")
        self.redraw = widgets.Button(
            description="New weights", icon="random", tooltip="the next seed", layout=button
        )
        self.redraw.on_click(self._new_weights)
        self.keep = widgets.ToggleButton(
            self.reference is not None,
            description="Compare with this",
            icon="thumb-tack",
            tooltip="keep these lines, dotted, while you change something",
            layout=button,
        )
        self.keep.observe(self._pin, "value")
        self.message, self.status = widgets.HTML(), widgets.HTML()
        self._shapes, self._lines = LiveFigure(), LiveFigure()
        left = widgets.VBox(
            [
                self.fields["init"],
                self.arguments,
                self.summary,
                *(self.fields[name] for name in ("activation", "depth", "width", "task")),
                widgets.HBox([self.redraw, self.keep], layout={"flex_flow": "row wrap"}),
                self.message,
            ],
            layout=widgets.Layout(flex="1 1 280px", min_width="280px", max_width="340px"),
        )
        right = widgets.VBox(
            [self.status, self._shapes, self._lines],
            layout=widgets.Layout(flex="8 1 340px", min_width="340px"),
        )
        self.widget: ipywidgets.Widget = widgets.HBox(
            [left, right], layout=widgets.Layout(flex_flow="row wrap")
        )
        self._fill()
        self._paint()

    def _values(self) -> dict[str, Any]:
        """What the controls show, but for the init's own arguments."""
        hidden = self.recipe.hidden
        stack = {"depth": len(hidden), "width": min(hidden[0], WIDEST)}
        return {name: getattr(self.recipe, name) for name in CHOSEN} | stack

    def _own(self, name: str, widget: Any) -> None:
        """Take a control in, and let it act while it is being dragged."""
        if hasattr(widget, "continuous_update"):
            widget.continuous_update = True
        widget.observe(self._edit(name), "value")
        self.fields[name] = widget

    def _edit(self, name: str) -> Callable[[dict[str, Any]], None]:
        def edited(change: dict[str, Any]) -> None:
            if self._filling:
                return
            value = change["new"]
            hidden = self.recipe.hidden
            if name == "depth":
                self._take({"hidden": hidden[:1] * value})
            elif name == "width":
                self._take({"hidden": (value,) * len(hidden)})
            elif name.startswith("init_args."):
                key = name.partition(".")[2]
                self._take({"init_args": {**self.recipe.init_args, key: value}})
            else:
                self._take({name: value})

        return edited

    def _new_weights(self, _button: Any) -> None:
        self._take({"seed": (self.recipe.seed + 1) % 2**31})

    def _take(self, changes: dict[str, Any]) -> None:
        """Adopt changes of the recipe, or say why not and put the controls back."""
        try:
            recipe = self.recipe.replace(**changes)
        except LabError as error:
            self._say(str(error))
            self._fill()
            return
        self._say("")
        self.recipe = recipe
        self._fill()
        self._latest.ask(recipe)

    def _work(self, recipe: Recipe) -> None:
        self.flow = signals(recipe)
        self._paint()

    def _say(self, error: str) -> None:
        self.message.value = alert(error)

    def _pin(self, change: dict[str, Any]) -> None:
        self._before = _sizes(self.flow) if change["new"] else None
        self._paint()

    def _fill(self) -> None:
        """Make the controls show the recipe in force, and the init's own arguments."""
        from labkit.panels.controls import control

        self._filling = True
        try:
            for name, value in self._values().items():
                self.fields[name].value = value
            entry, given = self.recipe.entry("init"), self.recipe.init_args
            own = entry.parameters()
            if getattr(self.arguments, "shows", None) != entry.name:
                for name in [key for key in self.fields if key.startswith("init_args.")]:
                    del self.fields[name]
                for name, parameter in own.items():
                    value = given.get(name, parameter.default)
                    widget = control(parameter, value)
                    if parameter.low == 0 and parameter.default and parameter.type is float:
                        # Four times the default says it all, and leaves room to aim.
                        widget.max = min(parameter.high, max(4 * parameter.default, value))
                    self._own(f"init_args.{name}", widget)
                self.arguments.children = [self.fields[f"init_args.{name}"] for name in own]
                self.arguments.shows = entry.name
                self.summary.value = (
                    f"<div style='line-height:1.3;margin:2px 0 6px'><b>{html.escape(entry.formula)}"
                    f"</b><br>{html.escape(entry.summary)}</div>"
                )
            for name, parameter in own.items():
                widget, value = self.fields[f"init_args.{name}"], given.get(name, parameter.default)
                if isinstance(value, float):
                    widget.max = max(widget.max, value)
                widget.value = value
        finally:
            self._filling = False

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        flow = self.flow
        shapes, lines = _specs(flow, self._before)
        show_together({self._shapes: shapes, self._lines: lines})
        self.status.value = _said(describe(flow))


def _sizes(flow: Sequence[Signal]) -> dict[str, list[float]]:
    return {"activations": stds(flow), "gradients": stds(flow, "gradient")}


def _specs(flow: Sequence[Signal], before: dict[str, list[float]] | None) -> tuple[Spec, Spec]:
    hidden = flow[:-1]
    names = [signal.layer for signal in hidden]
    return (
        distribution_by_depth.spec({signal.layer: signal.after for signal in hidden}, height=300),
        sizes_by_depth.spec(_sizes(flow), layers=names, before=before, height=290),
    )


def _said(sentences: Sequence[str]) -> str:
    lines = "<br>".join(html.escape(sentence) for sentence in sentences)
    return f"<div style='line-height:1.4'>{lines}</div>"
