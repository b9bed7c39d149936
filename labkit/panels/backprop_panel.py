"""One update in slow motion: prediction, error, gradient, step, new prediction."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError, unknown
from labkit.figures import backward_pass, updates_loss
from labkit.figures.base import Spec
from labkit.panels.base import Panel
from labkit.panels.markup import write
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
SHORT = ("output", "error", "back_inputs", "step", "again")  # the stages shown headless
MANY = 10
LABEL, WIDTH = "56px", "270px"  # of the controls


class BackpropPanel(Panel):
    """A 2-2-1 network with every number in sight, stage by stage, update after update.

    Headless it shows a picture for each of the main stages, and the loss falling
    over `updates` updates from there.

    Args:
        network: its weights.
        x1, x2: the inputs.
        target: what the output should be.
        lr: learning rate.
        stage: where to begin, one of `labkit.toys.gradients.backprop.STAGES`.
        updates: how many updates are made headless.
        interactive: whether somebody is there to use it.

    Attributes:
        network: the network as it stands; an update is made on leaving the last stage.
        losses: before each update so far, and now.

    Raises:
        LabError: an unknown stage, a number out of range, or a loss that grows without end.
    """

    pictures = ("passes", "losses")

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
        super().__init__(interactive=interactive)
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
        self.losses = [self.trace().loss]
        self._open()

    def _headless(self) -> None:
        self._after, self.losses = descend(
            self.network, self.x1, self.x2, self.target, self.lr, self.updates
        )

    def trace(self) -> Pass:
        """The forward and backward pass of the network as it stands."""
        return self.network.run(self.x1, self.x2, self.target)

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
        (trace, stage), more = self._at(self.stage)
        return {
            "passes": backward_pass.spec(trace, stage, **more),
            "losses": updates_loss.spec(self.losses),
        }

    def figures(self) -> tuple[go.Figure, ...]:
        """A static picture of each main stage, and the loss over the updates."""
        return (
            *(backward_pass(*args, **more) for args, more in map(self._at, SHORT)),
            updates_loss(self.losses),
        )

    def _tell(self) -> None:
        (trace, stage), more = self._at(self.stage)
        again = more["again"]
        if again is not None and not again.loss < TOO_LARGE:
            self.alert("lr is too large: this step throws the weights far away.")
        self.buttons["Back"].disabled = stage == next(iter(STAGES))
        self.buttons["Rewind"].disabled = len(self.losses) == 1 and self.network == self._first
        made = len(self.losses) - 1
        write(
            self.status,
            f"<span style='margin-left:12px'>stage {list(STAGES).index(stage) + 1} of "
            f"{len(STAGES)} · {made} update{'s' * (made != 1)} made</span>",
        )
        write(self.formulas, self._worked(trace, stage, more["moved"], again))

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
        words_of = {
            "output": f"the network says {y}",
            "error": f"it says {y}, wanted was {t}: the loss is {short(trace.loss)}",
            "back_output": f"the loss changes by {short(trace['dL/dy'])} per unit of output",
            "back_hidden": "through the weights v, then through the activation",
            "back_inputs": "the unit's gradient times what came in",
            "step": f"each weight moves against its gradient, times lr = {self.lr:g}",
        }
        if again is not None and stage == "again":
            words_of["again"] = (
                f"{short(again['y'])} after {y}; the loss goes from {short(trace.loss)} "
                f"to {short(again.loss)}"
            )
        words = f": {words_of[stage]}" if stage in words_of else ""
        return f"<b>{place} · {STAGES[stage]}</b>{words}"

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

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.fields import LogSlider
        from labkit.panels.parts import Action

        self.controls: dict[str, Any] = {
            name: parts.slider(name, value, (-REACH, REACH), 0.1, tip, label=LABEL, width=WIDTH)
            for name, value, tip in (
                ("x1", self.x1, "the first input"),
                ("x2", self.x2, "the second input"),
                ("target", self.target, "what the output should be"),
            )
        }
        self.controls["lr"] = LogSlider(
            *LR,
            self.lr,
            description="lr",
            tooltip="learning rate: how far a step goes",
            style={"description_width": LABEL},
            layout=widgets.Layout(width=WIDTH),
        )
        self.controls["activation"] = parts.menu(
            "activation", list(TINY_ACTIVATIONS), self.network.activation,
            "the activation function of the hidden units", label="72px", width=WIDTH,
        )  # fmt: skip
        for name, widget in self.controls.items():
            self.on_edit(widget, partial(self._turn, name))
        self.buttons = self.make_buttons(
            Action("Back", "step-backward", "the stage before", self._back),
            Action(
                "Next", "step-forward", "the next stage; after the last one, the next update",
                self._next, "primary",
            ),
            Action(
                f"{MANY} updates", "fast-forward", f"{MANY} whole updates at once",
                lambda: self._update(MANY),
            ),
            Action("Rewind", "fast-backward", "the first weights again", self._rewind),
        )  # fmt: skip
        self.formulas = widgets.HTML()
        return list(self.controls.values())

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        return parts.column(
            parts.row(*controls),
            parts.row(*self.buttons.values(), self.status),
            self.message,
            self.live["passes"],
            parts.halves(self.formulas, self.live["losses"]),
        )

    def _turn(self, name: str, value: Any) -> None:
        """A slider moved: the same weights, another question. The curve begins anew."""
        changed = name == "activation"
        if changed:
            self.network = self.network.replace(activation=value)
            self._first = self._first.replace(activation=value)
        else:
            setattr(self, name, value)
        loss = self.trace().loss
        if changed or loss != self.losses[-1]:
            self.losses = [loss]
        self.paint()

    def _back(self) -> None:
        names = list(STAGES)
        self.stage = names[max(0, names.index(self.stage) - 1)]
        self.paint()

    def _next(self) -> None:
        names = list(STAGES)
        if self.stage == names[-1]:
            self._update(1)
            return
        self.stage = names[names.index(self.stage) + 1]
        self.paint()

    def _update(self, count: int) -> None:
        """Make whole updates; the next one begins with its prediction."""
        self.network, losses = descend(self.network, self.x1, self.x2, self.target, self.lr, count)
        self.losses = [*self.losses, *losses[1:]]
        self.stage = next(iter(STAGES)) if count == 1 else "error"
        self.paint()

    def _rewind(self) -> None:
        self.network, self.stage = self._first, next(iter(STAGES))
        self.losses = [self.trace().loss]
        self.paint()
