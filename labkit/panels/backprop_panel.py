"""One update in slow motion: prediction, error, gradient, step, new prediction."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError, unknown
from labkit.figures import backward_pass, updates_loss
from labkit.toys.gradients.backprop import (
    STAGES,
    TINY_ACTIVATIONS,
    TOO_LARGE,
    Number,
    Pass,
    TinyNetwork,
    descend,
    short,
)

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

REACH = 2.0  # of inputs and target, both ways
LR = (0.01, 3.0)
SHORT = ("output", "error", "back_inputs", "step", "again")  # the stages shown without a person
MANY = 10


class BackpropPanel:
    """A 2-2-1 network with every number in sight, stage by stage, update after update.

    Without a person it shows a picture for each of the main stages, and the loss falling
    over `updates` updates from there.

    Args:
        network: its weights.
        x1, x2: the inputs.
        target: what the output should be.
        lr: learning rate.
        stage: where to begin, one of `labkit.toys.gradients.backprop.STAGES`.
        updates: how many updates are made without a person.
        interactive: whether somebody is there.

    Attributes:
        network: the network as it stands; an update is made on leaving the last stage.
        losses: before each update so far, and now.

    Raises:
        LabError: an unknown stage, a number out of range, or a loss that grows without end.
    """

    def __init__(
        self,
        network: TinyNetwork | None = None,
        *,
        x1: float = 1.0,
        x2: float = -0.5,
        target: float = 1.0,
        lr: float = 0.1,
        stage: str = "hidden",
        updates: int = 20,
        interactive: bool = True,
    ) -> None:
        if stage not in STAGES:
            raise LabError(unknown("stage", stage, STAGES))
        for name, value, low, high in (
            ("x1", x1, -REACH, REACH),
            ("x2", x2, -REACH, REACH),
            ("target", target, -REACH, REACH),
            ("lr", lr, *LR),
        ):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise LabError(f"{name}={value!r}: give a number from {low:g} to {high:g}")
        self.x1, self.x2, self.target, self.lr = float(x1), float(x2), float(target), float(lr)
        self._first = self.network = network or TinyNetwork()
        self.stage = stage
        self.updates = updates
        self.interactive = interactive
        self.losses = [self.trace().loss]
        if interactive:
            self._build()
        else:
            self._after, self.losses = descend(
                self.network, self.x1, self.x2, self.target, self.lr, updates
            )

    def trace(self) -> Pass:
        """The forward and backward pass of the network as it stands."""
        return self.network.run(self.x1, self.x2, self.target)

    def figures(self) -> tuple[go.Figure, ...]:
        """A static picture of each main stage, and the loss over the updates."""
        return (
            *(backward_pass(*args, **more) for args, more in map(self._at, SHORT)),
            updates_loss(self.losses),
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(*self.figures())

    def _at(self, stage: str) -> tuple[tuple[Pass, str], dict[str, Any]]:
        """What the picture of a stage is made from."""
        trace = self.trace()
        moved: Sequence[Number] = ()
        again = None
        if stage in ("step", "again"):
            network, moved = trace.step(self.lr)
            again = network.run(self.x1, self.x2, self.target)
        caption = self._headline(stage, trace, again)
        return (trace, stage), {"caption": caption, "moved": moved, "again": again}

    def _headline(self, stage: str, trace: Pass, again: Pass | None) -> str:
        """One line of what happens, with its numbers."""
        place = list(STAGES).index(stage) + 1
        y, t = short(trace["y"]), short(trace["t"])
        said = {
            "output": f"the network says {y}",
            "error": f"it says {y}, wanted was {t}: the loss is {short(trace.loss)}",
            "back_output": f"the loss changes by {short(trace['dL/dy'])} per unit of output",
            "back_hidden": "through the weights v, then through the activation",
            "back_inputs": "the unit's gradient times what came in",
            "step": f"each weight moves against its gradient, times lr = {self.lr:g}",
        }
        if again is not None and stage == "again":
            said["again"] = (
                f"{short(again['y'])} after {y}; the loss goes from {short(trace.loss)} "
                f"to {short(again.loss)}"
            )
        words = f": {said[stage]}" if stage in said else ""
        return f"<b>{place} · {STAGES[stage]}</b>{words}"

    # --- with a person -------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.fields import LogSlider
        from labkit.panels.live_figure import LiveFigure

        style = {"description_width": "56px"}
        narrow = {"style": style, "layout": widgets.Layout(width="270px")}
        self.controls: dict[str, Any] = {
            name: widgets.FloatSlider(
                value, min=-REACH, max=REACH, step=0.1, description=name, tooltip=tip, **narrow
            )
            for name, value, tip in (
                ("x1", self.x1, "the first input"),
                ("x2", self.x2, "the second input"),
                ("target", self.target, "what the output should be"),
            )
        }
        self.controls["lr"] = LogSlider(
            *LR, self.lr, description="lr", tooltip="learning rate: how far a step goes", **narrow
        )
        self.controls["activation"] = widgets.Dropdown(
            options=list(TINY_ACTIVATIONS),
            value=self.network.activation,
            description="activation",
            tooltip="the activation of the hidden units",
            **narrow,
        )
        for widget in self.controls.values():
            widget.observe(self._turn, "value")
        self.buttons = {
            name: widgets.Button(
                description=name, icon=icon, tooltip=tip, layout=widgets.Layout(width="auto")
            )
            for name, icon, tip in (
                ("Back", "step-backward", "the stage before"),
                ("Next", "step-forward", "the next stage; after the last one, the next update"),
                (f"{MANY} updates", "fast-forward", f"{MANY} whole updates at once"),
                ("Rewind", "fast-backward", "the first weights again"),
            )
        }
        self.buttons["Next"].button_style = "primary"
        for button, action in zip(
            self.buttons.values(), (self._back, self._next, self._many, self._rewind), strict=True
        ):
            button.on_click(action)
        self.message, self.formulas, self.status = (widgets.HTML() for _ in range(3))
        self._picture, self._fall = LiveFigure(), LiveFigure()
        wrap = {"flex_flow": "row wrap"}
        lower = [
            widgets.VBox([widget], layout=widgets.Layout(flex="1 1 340px", min_width="300px"))
            for widget in (self.formulas, self._fall)
        ]
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HBox(list(self.controls.values()), layout=wrap),
                widgets.HBox([*self.buttons.values(), self.status], layout=wrap),
                self.message,
                self._picture,
                widgets.HBox(lower, layout=wrap),
            ]
        )
        self._filling = False
        self._paint()

    def _turn(self, _change: Any) -> None:
        """A slider moved: the same weights, another question. The curve begins anew."""
        if self._filling:
            return
        self.x1, self.x2 = self.controls["x1"].value, self.controls["x2"].value
        self.target, self.lr = self.controls["target"].value, self.controls["lr"].value
        activation = self.controls["activation"].value
        changed = activation != self.network.activation
        self.network = self.network.replace(activation=activation)
        self._first = self._first.replace(activation=activation)
        loss = self.trace().loss
        if changed or loss != self.losses[-1]:
            self.losses = [loss]
        self._paint()

    def _back(self, _button: Any) -> None:
        names = list(STAGES)
        self.stage = names[max(0, names.index(self.stage) - 1)]
        self._paint()

    def _next(self, _button: Any) -> None:
        names = list(STAGES)
        if self.stage == names[-1]:
            self._update(1)
            return
        self.stage = names[names.index(self.stage) + 1]
        self._paint()

    def _many(self, _button: Any) -> None:
        self._update(MANY)

    def _update(self, count: int) -> None:
        """Make whole updates; the next one begins with its prediction."""
        try:
            self.network, losses = descend(
                self.network, self.x1, self.x2, self.target, self.lr, count
            )
        except LabError as error:
            self._say(str(error))
            return
        self.losses = [*self.losses, *losses[1:]]
        self.stage = next(iter(STAGES)) if count == 1 else "error"
        self._paint()

    def _rewind(self, _button: Any) -> None:
        self.network, self.stage = self._first, next(iter(STAGES))
        self.losses = [self.trace().loss]
        self._paint()

    def _say(self, error: str) -> None:
        self.message.value = (
            "<span role='alert' style='color:var(--jp-error-color1,#b00)'>"
            f"{html.escape(error)}</span>"
            if error
            else ""
        )

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        try:
            (trace, stage), more = self._at(self.stage)
        except LabError as error:
            self._say(str(error))
            return
        again = more["again"]
        grown = again is not None and not again.loss < TOO_LARGE
        self._say("lr is too large: this step throws the weights far away." if grown else "")
        show_together(
            {
                self._picture: backward_pass.spec(trace, stage, **more),
                self._fall: updates_loss.spec(self.losses),
            }
        )
        self.buttons["Back"].disabled = stage == next(iter(STAGES))
        self.buttons["Rewind"].disabled = len(self.losses) == 1 and self.network == self._first
        made = len(self.losses) - 1
        self.status.value = (
            f"<span style='margin-left:12px'>stage {list(STAGES).index(stage) + 1} of "
            f"{len(STAGES)} · {made} update{'s' * (made != 1)} made</span>"
        )
        self.formulas.value = self._worked(trace, stage, more["moved"], again)

    def _worked(self, trace: Pass, stage: str, moved: Sequence[Number], again: Pass | None) -> str:
        """The stage's numbers, each with its formula and the values filled in."""
        if stage == "step":
            numbers = list(moved)
        elif again is not None:
            forward = ("hidden", "output", "error")
            numbers = [number for part in forward for number in again.at(part)]
        else:
            numbers = trace.at(stage)
        rows = []
        for number in numbers:
            name = html.escape(number.name)
            worked = html.escape(number.text.removeprefix(f"{number.name} "))
            rows.append(
                f"<tr><td style='white-space:nowrap;text-align:left'><b>{name}</b></td>"
                f"<td style='text-align:left'>{worked}</td></tr>"
            )
        return (
            f"<div style='line-height:1.5;margin:8px 0 0 12px'><b>{STAGES[stage]}</b>"
            f"<table style='font-variant-numeric:tabular-nums'>{''.join(rows)}</table></div>"
        )
