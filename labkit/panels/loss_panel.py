"""Losses to play with: the value and the slope that each has for one prediction."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.core.errors import LabError
from labkit.core.parameters import Parameter
from labkit.figures import (
    loss_slopes,
    loss_values,
    loss_walk,
    theme,
)
from labkit.figures.base import Spec
from labkit.panels.base import Panel
from labkit.panels.markup import write
from labkit.toys.gradients.losses import LOSSES, deal, evaluate, of_kind, walk

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

SPANS = {"regression": 5.0, "classification": 8.0}  # of predictions and of logits, both ways
POINTS = 201
LABEL = "76px"  # what names of controls need


def loss_colors(kind: str) -> dict[str, str]:
    """Each loss keeps its colour, whichever others are shown."""
    palette = theme.CATEGORIES
    return {name: palette[i % len(palette)] for i, name in enumerate(of_kind(kind))}


class LossPanel(Panel):
    """Losses as curves, with their slopes; a point moves along, its tangent with it.

    Args:
        losses: names of `labkit.LOSSES`, all for regression or all for classification.
        target: what was wanted; in a classification 1 for yes and 0 for no.
        prediction: where the point is: the prediction, or the logit.
        interactive: whether somebody is there; otherwise plain figures are shown.
        arguments: the losses' own, such as `delta=0.5` or `gamma=2`.

    Attributes:
        losses, target, prediction: as they stand.
        kind: regression or classification.

    Raises:
        RecipeError: an unknown loss, losses of two kinds, or an argument none of them takes.
        LabError: a target or prediction out of range.
    """

    pictures = ("values", "slopes")

    def __init__(
        self,
        losses: Sequence[str] = ("mse", "l1", "huber"),
        *,
        target: float = 0.0,
        prediction: float = 2.0,
        interactive: bool = True,
        **arguments: Any,
    ) -> None:
        super().__init__(interactive=interactive)
        losses = [losses] if isinstance(losses, str) else list(losses)
        self._arguments = dict(arguments)
        deal(losses, self._arguments)
        self.kind: str = LOSSES[losses[0]].traits["kind"]
        self.losses = tuple(name for name in of_kind(self.kind) if name in losses)
        reach = SPANS[self.kind]
        low, high = (0.0, 1.0) if self.kind == "classification" else (-reach, reach)
        self.target = number_within("target", target, low, high)
        self.prediction = number_within("prediction", prediction, -reach, reach)
        self.points()  # refuses an argument outside its limits
        self._open()

    def points(self) -> dict[str, tuple[float, float]]:
        """Each loss's value and slope at the prediction."""
        own = deal(self.losses, self._arguments)
        found = {
            name: evaluate(name, self.prediction, self.target, own[name]) for name in self.losses
        }
        return {name: (float(value), float(slope)) for name, (value, slope) in found.items()}

    def walk(self, *, lr: float = 1.0, steps: int = 40) -> go.Figure:
        """Where gradient descent takes the prediction from here under each loss."""
        own = deal(self.losses, self._arguments)
        paths = {
            name: walk(name, self.prediction, self.target, own[name], lr=lr, steps=steps)
            for name in self.losses
        }
        return loss_walk(paths, target=self.target, kind=self.kind, colors=loss_colors(self.kind))

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
        """The losses and their slopes."""
        outputs, at = self._outputs(), self._at()
        own = deal(self.losses, self._arguments)
        found = {name: evaluate(name, outputs, self.target, own[name]) for name in self.losses}
        values = {name: value for name, (value, _) in found.items()}
        slopes = {name: slope for name, (_, slope) in found.items()}
        return {
            "values": loss_values.spec(outputs, values, **at),
            "slopes": loss_slopes.spec(outputs, slopes, **at),
        }

    def _at(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "at": self.prediction,
            "points": self.points(),
            "kind": self.kind,
            "colors": loss_colors(self.kind),
        }

    def _outputs(self) -> np.ndarray:
        """Where the curves are worked out; closely on both sides of the target, for L1's jump."""
        reach = SPANS[self.kind]
        near = np.clip(self.target + 1e-6 * np.array([-1, 1]), -reach, reach)
        return np.sort(np.append(np.linspace(-reach, reach, POINTS), near))

    def _tell(self) -> None:
        colors = loss_colors(self.kind)
        write(
            self.status,
            " &nbsp;·&nbsp; ".join(
                f"<span style='color:{colors[name]}'>●</span> {html.escape(name)}: loss "
                f"<b>{value:.4g}</b>, slope <b>{slope:+.4g}</b>"
                for name, (value, slope) in self.points().items()
            ),
        )

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts

        self.boxes = {
            name: widgets.Checkbox(
                name in self.losses,
                description=name,
                tooltip=LOSSES[name].summary,
                indent=False,
                layout=widgets.Layout(width="auto", margin="0 14px 0 0"),
            )
            for name in of_kind(self.kind)
        }
        reach = SPANS[self.kind]
        what = "logit" if self.kind == "classification" else "prediction"
        self.controls: dict[str, Any] = {
            "prediction": parts.slider(
                what, self.prediction, (-reach, reach), 0.1, "the network's output", label=LABEL
            ),
            "target": self._target_control(),
        }
        # One slider for each argument of any of these losses, made from the losses themselves.
        self._takers: dict[str, list[str]] = {}
        for name in of_kind(self.kind):
            for argument, parameter in LOSSES[name].parameters().items():
                if argument not in self._takers:
                    value = self._arguments.get(argument, parameter.default)
                    self.controls[argument] = argument_slider(parameter, value)
                self._takers.setdefault(argument, []).append(name)
        for name, widget in self.controls.items():
            self.on_edit(widget, partial(self._turn, name))
        for name, box in self.boxes.items():
            self.on_edit(box, partial(self._choose, name))
        return [parts.row(*self.boxes.values()), parts.row(*self.controls.values())]

    def _target_control(self) -> Any:
        from labkit.panels import parts

        if self.kind == "classification":
            return parts.menu(
                "target",
                [("no", 0.0), ("yes", 1.0)],
                self.target if self.target in (0.0, 1.0) else None,
                "the right answer",
                label=LABEL,
                width="180px",
            )
        reach = SPANS[self.kind]
        return parts.slider(
            "target", self.target, (-reach, reach), 0.1, "what the output should be", label=LABEL
        )

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        return parts.above(controls, [self.status, self.message], self.live.values())

    def _fill(self) -> None:
        for name, box in self.boxes.items():
            box.value = name in self.losses
        for argument, names in self._takers.items():
            # A slider that no loss on the page uses is not shown.
            used = any(name in self.losses for name in names)
            self.controls[argument].layout.display = None if used else "none"

    def _choose(self, name: str, chosen: bool) -> None:
        losses = {*self.losses, name} if chosen else {*self.losses} - {name}
        if not losses:
            raise LabError("Choose one loss or more.")
        self.losses = tuple(each for each in of_kind(self.kind) if each in losses)
        self.fill()
        self.paint()

    def _turn(self, name: str, value: float) -> None:
        if name == "prediction":
            self.prediction = value
        elif name == "target":
            self.target = value
        else:
            self._arguments[name] = value
        self.paint()


def argument_slider(parameter: Parameter, value: Any) -> Any:
    """The control of a loss's argument, which acts while it is being dragged."""
    from labkit.panels.fields import control

    knob: Any = control(parameter, value)
    knob.continuous_update = True
    knob.style.description_width = LABEL
    knob.layout.width = "320px"
    return knob


def number_within(name: str, value: Any, low: float, high: float) -> float:
    """A number within limits. Raises LabError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise LabError(f"{name}={value!r} is not allowed: give a number from {low:g} to {high:g}")
    return float(value)
