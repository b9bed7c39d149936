"""The signal by depth: where a network's weights start, and what becomes of its signal."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Annotated, Any

from labkit.analysis.propagation import Signal, describe, signals, stds
from labkit.core.parameters import Parameter, Strict, knob, parameters
from labkit.figures import distribution_by_depth, sizes_by_depth
from labkit.figures.base import Spec
from labkit.panels.base import Panel
from labkit.panels.markup import sentences, write
from labkit.recipe.recipe import Recipe

DEEPEST, WIDEST = 20, 256


class Stack(Strict):
    """The part of a network that the panel's own sliders set: equal hidden layers."""

    depth: Annotated[int, knob(1, DEEPEST, help="how many hidden layers")] = 10
    width: Annotated[int, knob(1, WIDEST, help="units of each hidden layer")] = 64


CHOSEN = ("init", "activation", "task")


class DepthPanel(Panel):
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

    pictures = ("distribution", "sizes")

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        reference: Recipe | None = None,
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(interactive=interactive, executor=executor)
        recipe = recipe or Recipe(task="digits", hidden=(64,) * 10)
        hidden = recipe.hidden or (Stack().width,)
        self.recipe = recipe.replace(hidden=(hidden[0],) * len(hidden), network="mlp")
        self.flow: list[Signal] = signals(self.recipe)
        self.reference = reference
        self._before = _sizes(signals(reference)) if reference else None
        self._open()

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
        flow, hidden = self.flow, self.flow[:-1]
        after = {signal.layer: signal.after for signal in hidden}
        return {
            "distribution": distribution_by_depth.spec(after, height=300),
            "sizes": sizes_by_depth.spec(
                _sizes(flow), layers=list(after), before=self._before, height=290
            ),
        }

    def words(self) -> list[str]:
        """The numbers in words: one sentence on activations, one on gradients."""
        return describe(self.flow)

    def static(self) -> list[Any]:
        """The sentences and both figures."""
        from IPython.display import HTML

        return [HTML(sentences(self.words())), *self.figures()]

    def _tell(self) -> None:
        write(self.status, sentences(self.words()))

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.entry_arguments import EntryArguments
        from labkit.panels.fields import control

        known = parameters(Recipe) | parameters(Stack)
        self._own = {name: control(known[name], value) for name, value in self._values().items()}
        for name, widget in self._own.items():
            self._observe(widget, name)
        self.arguments = EntryArguments(
            lambda widget, name: self._observe(widget, f"init_args.{name}"), make=_with_room
        )
        self.summary = widgets.HTML()
        self.redraw = parts.button("New weights", "random", "the next seed")
        self.on_click(self.redraw, self._new_weights)
        self.keep = widgets.ToggleButton(
            self.reference is not None,
            description="Compare with this",
            icon="thumb-tack",
            tooltip="keep these lines, dotted, while you change something",
            layout=widgets.Layout(width="auto"),
        )
        self.on_edit(self.keep, self._pin)
        own = dict(self._own)
        return [
            own.pop("init"), self.arguments, self.summary,
            *(own[name] for name in ("activation", "depth", "width", "task")),
            parts.row(self.redraw, self.keep),
        ]  # fmt: skip

    @property
    def fields(self) -> dict[str, Any]:
        """Every control by name, the arguments of the init as `init_args.mode`."""
        arguments = self.arguments.fields.items()
        return {**self._own, **{f"init_args.{name}": widget for name, widget in arguments}}

    def _values(self) -> dict[str, Any]:
        """What the controls show, but for the init's own arguments."""
        hidden = self.recipe.hidden
        stack = {"depth": len(hidden), "width": min(hidden[0], WIDEST)}
        return {name: getattr(self.recipe, name) for name in CHOSEN} | stack

    def _observe(self, widget: Any, name: str) -> None:
        """Let a control act while it is being dragged."""
        if hasattr(widget, "continuous_update"):
            widget.continuous_update = True
        self.on_edit(widget, lambda value: self._change(name, value))

    def _change(self, name: str, value: Any) -> None:
        hidden = self.recipe.hidden
        if name == "depth":
            self._take(hidden=hidden[:1] * value)
        elif name == "width":
            self._take(hidden=(value,) * len(hidden))
        elif name.startswith("init_args."):
            key = name.partition(".")[2]
            self._take(init_args={**self.recipe.init_args, key: value})
        else:
            self._take(**{name: value})

    def _new_weights(self) -> None:
        self._take(seed=(self.recipe.seed + 1) % 2**31)

    def _take(self, **changes: Any) -> None:
        self.recipe = self.recipe.replace(**changes)
        self.fill()
        self.job.request(self.recipe)

    def _work(self, recipe: Recipe) -> None:
        self.flow = signals(recipe)
        self.paint()

    def _pin(self, kept: bool) -> None:
        self._before = _sizes(self.flow) if kept else None
        self.paint()

    def _fill(self) -> None:
        for name, value in self._values().items():
            self._own[name].value = value
        entry = self.recipe.entry("init")
        self.arguments.show(entry, self.recipe.init_args)
        self.summary.value = (
            f"<div style='line-height:1.3;margin:2px 0 6px'><b>{html.escape(entry.formula)}"
            f"</b><br>{html.escape(entry.summary)}</div>"
        )


def _with_room(parameter: Parameter, value: Any) -> Any:
    """The control of an argument, which reaches no further than one has reason to go."""
    from labkit.panels.fields import control

    widget: Any = control(parameter, value)
    if parameter.low == 0 and parameter.default and parameter.type is float:
        # Four times the default covers what matters, and leaves room to aim.
        widget.max = min(parameter.high or math.inf, max(4 * parameter.default, value))
    return widget


def _sizes(flow: Sequence[Signal]) -> dict[str, list[float]]:
    return {"activations": stds(flow), "gradients": stds(flow, "gradient")}
