"""Losses to play with: what each says of one prediction, and what an outlier does to each."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.core.errors import LabError
from labkit.figures import (
    loss_slopes,
    loss_values,
    loss_walk,
    outlier_fit,
    outlier_pull,
    theme,
)
from labkit.toys.gradients.losses import LOSSES, best_constant, deal, evaluate, of_kind, walk

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

    from labkit.panels.live_figure import LiveFigure

SPANS = {"regression": 5.0, "classification": 8.0}  # of predictions and of logits, both ways
POINTS = 201
OUTLIERS = (4.0, 20.0)
GUESSES = 8


class _Panel(ABC):
    """Two pictures side by side under some controls: what the panels here share."""

    interactive: bool
    widget: ipywidgets.Widget
    message: ipywidgets.HTML

    @abstractmethod
    def figures(self) -> tuple[go.Figure, go.Figure]:
        """Both pictures as they are."""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(*self.figures())

    def _pair(self) -> tuple[LiveFigure, LiveFigure, Any]:
        """Two empty pictures, and a box that holds them side by side where there is room."""
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        pictures = (LiveFigure(), LiveFigure())
        half = widgets.Layout(flex="1 1 340px", min_width="300px")
        boxes = [widgets.VBox([picture], layout=half) for picture in pictures]
        return *pictures, widgets.HBox(boxes, layout={"flex_flow": "row wrap"})

    def _say(self, error: str) -> None:
        self.message.value = (
            "<span role='alert' style='color:var(--jp-error-color1,#b00)'>"
            f"{html.escape(error)}</span>"
            if error
            else ""
        )


def _slider(value: float, low: float, high: float, step: float, name: str, tip: str) -> Any:
    import ipywidgets as widgets

    return widgets.FloatSlider(
        value,
        min=low,
        max=high,
        step=step,
        description=name,
        tooltip=tip,
        style={"description_width": "76px"},
        layout=widgets.Layout(width="320px"),
    )


def _colors(kind: str) -> dict[str, str]:
    """Each loss keeps its colour, whichever others are shown."""
    palette = theme.CATEGORIES
    return {name: palette[i % len(palette)] for i, name in enumerate(of_kind(kind))}


class LossPanel(_Panel):
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

    def __init__(
        self,
        losses: Sequence[str] = ("mse", "l1", "huber"),
        *,
        target: float = 0.0,
        prediction: float = 2.0,
        interactive: bool = True,
        **arguments: Any,
    ) -> None:
        losses = [losses] if isinstance(losses, str) else list(losses)
        self._arguments = dict(arguments)
        deal(losses, self._arguments)
        self.kind: str = LOSSES[losses[0]].traits["kind"]
        self.losses = tuple(name for name in of_kind(self.kind) if name in losses)
        reach = SPANS[self.kind]
        low, high = (0.0, 1.0) if self.kind == "classification" else (-reach, reach)
        self.target = _within("target", target, low, high)
        self.prediction = _within("prediction", prediction, -reach, reach)
        self.interactive = interactive
        self.points()  # refuses an argument outside its limits
        if interactive:
            self._build()

    def points(self) -> dict[str, tuple[float, float]]:
        """Each loss's value and slope at the prediction."""
        own = deal(self.losses, self._arguments)
        found = {
            name: evaluate(name, self.prediction, self.target, own[name]) for name in self.losses
        }
        return {name: (float(value), float(slope)) for name, (value, slope) in found.items()}

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The losses and their slopes, as static figures."""
        values, slopes = self._curves()
        at = self._at()
        return (
            loss_values(self._outputs, values, **at),
            loss_slopes(self._outputs, slopes, **at),
        )

    def walk(self, *, lr: float = 1.0, steps: int = 40) -> go.Figure:
        """Where gradient descent takes the prediction from here under each loss."""
        own = deal(self.losses, self._arguments)
        paths = {
            name: walk(name, self.prediction, self.target, own[name], lr=lr, steps=steps)
            for name in self.losses
        }
        return loss_walk(paths, target=self.target, kind=self.kind, colors=_colors(self.kind))

    @property
    def _outputs(self) -> np.ndarray:
        """Where the curves are worked out; closely on both sides of the target, for L1's jump."""
        reach = SPANS[self.kind]
        near = np.clip(self.target + 1e-6 * np.array([-1, 1]), -reach, reach)
        return np.sort(np.append(np.linspace(-reach, reach, POINTS), near))

    def _at(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "at": self.prediction,
            "points": self.points(),
            "kind": self.kind,
            "colors": _colors(self.kind),
        }

    def _curves(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        own = deal(self.losses, self._arguments)
        found = {
            name: evaluate(name, self._outputs, self.target, own[name]) for name in self.losses
        }
        return {k: v for k, (v, _) in found.items()}, {k: s for k, (_, s) in found.items()}

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.fields import control

        reach = SPANS[self.kind]
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
        self.controls: dict[str, Any] = {}
        what = "logit" if self.kind == "classification" else "prediction"
        self.controls["prediction"] = _slider(
            self.prediction, -reach, reach, 0.1, what, "what the network says"
        )
        if self.kind == "classification":
            self.controls["target"] = widgets.Dropdown(
                options=[("no", 0.0), ("yes", 1.0)],
                value=self.target if self.target in (0.0, 1.0) else None,
                description="target",
                tooltip="the right answer",
                style={"description_width": "76px"},
                layout=widgets.Layout(width="180px"),
            )
        else:
            self.controls["target"] = _slider(
                self.target, -reach, reach, 0.1, "target", "what it should have said"
            )
        # One slider for each argument of any of these losses, made from the losses themselves.
        self._takers: dict[str, list[str]] = {}
        for name in of_kind(self.kind):
            for argument, parameter in LOSSES[name].parameters().items():
                if argument not in self._takers:
                    value = self._arguments.get(argument, parameter.default)
                    knob = control(parameter, value)
                    knob.continuous_update = True
                    knob.style.description_width = "76px"
                    knob.layout.width = "320px"
                    self.controls[argument] = knob
                self._takers.setdefault(argument, []).append(name)
        for widget in (*self.controls.values(), *self.boxes.values()):
            widget.observe(self._turn, "value")
        self.status, self.message = widgets.HTML(), widgets.HTML()
        self._values, self._slopes, pictures = self._pair()
        wrap = {"flex_flow": "row wrap"}
        self.widget = widgets.VBox(
            [
                widgets.HBox(list(self.boxes.values()), layout=wrap),
                widgets.HBox(list(self.controls.values()), layout=wrap),
                self.message,
                self.status,
                pictures,
            ]
        )
        self._paint()

    def _turn(self, _change: Any) -> None:
        chosen = [name for name, box in self.boxes.items() if box.value]
        if not chosen:
            self._say("Choose one loss or more.")
            return
        self._say("")
        self.losses = tuple(chosen)
        self.prediction = self.controls["prediction"].value
        if self.controls["target"].value is not None:
            self.target = self.controls["target"].value
        for argument in self._takers:
            self._arguments[argument] = self.controls[argument].value
        self._paint()

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        for argument, names in self._takers.items():
            # A slider that nothing on the page listens to is not shown.
            used = any(name in self.losses for name in names)
            self.controls[argument].layout.display = None if used else "none"
        values, slopes = self._curves()
        at = self._at()
        show_together(
            {
                self._values: loss_values.spec(self._outputs, values, **at),
                self._slopes: loss_slopes.spec(self._outputs, slopes, **at),
            }
        )
        colors = _colors(self.kind)
        self.status.value = " &nbsp;·&nbsp; ".join(
            f"<span style='color:{colors[name]}'>●</span> {html.escape(name)}: loss "
            f"<b>{value:.4g}</b>, slope <b>{slope:+.4g}</b>"
            for name, (value, slope) in at["points"].items()
        )


def _within(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise LabError(f"{name}={value!r} is not allowed: give a number from {low:g} to {high:g}")
    return float(value)


class OutlierPanel(_Panel):
    """Nine guesses, one of them far off: which single number does each loss like best?

    Args:
        outlier: where the ninth guess is, in metres.
        delta: of the Huber loss.
        seed: of the other eight.
        interactive: whether somebody is there; otherwise plain figures are shown.

    Attributes:
        outlier, delta: as they stand.

    Raises:
        LabError: a value out of range.
    """

    LOSSES = ("mse", "l1", "huber")

    def __init__(
        self,
        *,
        outlier: float = 12.0,
        delta: float = 1.0,
        seed: int = 0,
        interactive: bool = True,
    ) -> None:
        self.outlier = _within("outlier", outlier, *OUTLIERS)
        self.delta = delta
        self.guesses = np.random.default_rng(seed).normal(4.0, 0.8, GUESSES)
        self.interactive = interactive
        self._far = np.linspace(*OUTLIERS, 81)
        self._lines: dict[str, np.ndarray] = {}
        self.best()  # refuses a delta outside its limits
        if interactive:
            self._build()

    @property
    def values(self) -> np.ndarray:
        """All nine guesses, the outlier last."""
        return np.append(self.guesses, self.outlier)

    def best(self) -> dict[str, float]:
        """The best single number by each loss."""
        return {
            name: float(best_constant(name, self.values, self._own(name))) for name in self.LOSSES
        }

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The guesses with the best numbers, and those while the outlier moves away."""
        (fit, fit_words), (pull, pull_words) = self._specs()
        return outlier_fit(*fit, **fit_words), outlier_pull(*pull, **pull_words)

    def _own(self, name: str) -> Mapping[str, float]:
        return {"delta": self.delta} if name == "huber" else {}

    def _specs(self) -> tuple[Any, Any]:
        best = self.best()
        for name in self.LOSSES:
            if name not in self._lines:
                several = np.empty((len(self._far), GUESSES + 1))
                several[:, :-1], several[:, -1] = self.guesses, self._far
                self._lines[name] = best_constant(name, several, self._own(name))
        lines = {name: self._lines[name] for name in self.LOSSES}
        common: dict[str, Any] = {"unit": "m", "colors": _colors("regression")}
        span = (float(min(self.guesses)) - 0.8, OUTLIERS[1] + 0.8)
        return (
            ((self.values, best), {**common, "span": span}),
            ((self._far, lines), {**common, "outlier": self.outlier, "points": best}),
        )

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.fields import control

        self.sliders = {
            "outlier": _slider(
                self.outlier, *OUTLIERS, 0.1, "outlier", "what the ninth person guessed, in metres"
            ),
            "delta": control(LOSSES["huber"].parameters()["delta"], self.delta),
        }
        self.sliders["delta"].style.description_width = "76px"
        self.sliders["delta"].layout.width = "320px"
        for slider in self.sliders.values():
            slider.observe(self._turn, "value")
        self.message = widgets.HTML()
        self._fit, self._pull, pictures = self._pair()
        self.widget = widgets.VBox(
            [
                widgets.HBox(list(self.sliders.values()), layout={"flex_flow": "row wrap"}),
                self.message,
                pictures,
            ]
        )
        self._paint()

    def _turn(self, _change: Any) -> None:
        self.outlier = self.sliders["outlier"].value
        if self.delta != self.sliders["delta"].value:
            self.delta = self.sliders["delta"].value
            self._lines.pop("huber", None)
        self._paint()

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        (fit, fit_words), (pull, pull_words) = self._specs()
        show_together(
            {
                self._fit: outlier_fit.spec(*fit, **fit_words),
                self._pull: outlier_pull.spec(*pull, **pull_words),
            }
        )
