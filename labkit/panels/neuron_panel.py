"""Two knobs, one neuron: tuning weights by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import neuron_line, neuron_surface
from labkit.toys.neuron import LIMIT, Neuron

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

LR = 0.3


class NeuronPanel:
    """Turn a neuron's weight and bias by hand, or let the gradient turn them.

    Args:
        neuron: the points to hit.
        weight, bias: where the knobs start.
        interactive: whether somebody is there; otherwise plain figures are shown.

    Attributes:
        path: every position of the knobs so far, `(k, 2)`.
    """

    def __init__(
        self,
        neuron: Neuron | None = None,
        *,
        weight: float = 0.0,
        bias: float = 0.0,
        interactive: bool = True,
    ) -> None:
        self.neuron = neuron or Neuron()
        self.interactive = interactive
        self.path = np.array([[weight, bias]])
        self._points = self.neuron.points()
        self._surface = self.neuron.surface()
        if interactive:
            self._build()

    @property
    def weight(self) -> float:
        return float(self.path[-1, 0])

    @property
    def bias(self) -> float:
        return float(self.path[-1, 1])

    @property
    def loss(self) -> float:
        """Mean squared error at the knobs' position."""
        return float(self.neuron.loss(self.weight, self.bias))

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The line through the points, and the knobs on the loss surface."""
        return (
            neuron_line(*self._points, self.weight, self.bias, self.loss),
            neuron_surface(*self._surface, self.weight, self.bias, self.path),
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(*self.figures())

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        style = {"description_width": "60px"}
        self.knobs = tuple(
            widgets.FloatSlider(
                value,
                min=-LIMIT,
                max=LIMIT,
                step=0.05,
                description=name,
                tooltip=tip,
                style=style,
                layout=widgets.Layout(width="320px"),
            )
            for name, value, tip in (
                ("weight", self.weight, "how strongly the input counts, and in which direction"),
                ("bias", self.bias, "what the neuron says when the input is zero"),
            )
        )
        for knob in self.knobs:
            knob.observe(self._turn, "value")
        self.downhill = widgets.Button(
            description="One step downhill",
            tooltip=f"a gradient step with learning rate {LR}",
            icon="step-forward",
            layout=widgets.Layout(width="auto"),
        )
        self.downhill.on_click(self._step)
        self.status = widgets.HTML()
        self._line, self._map = LiveFigure(), LiveFigure()
        half = widgets.Layout(flex="1 1 340px", min_width="300px")
        pictures = [widgets.VBox([picture], layout=half) for picture in (self._line, self._map)]
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HBox([*self.knobs, self.downhill], layout={"flex_flow": "row wrap"}),
                self.status,
                widgets.HBox(pictures, layout={"flex_flow": "row wrap"}),
            ]
        )
        self._moving = False
        self._paint()

    def _turn(self, _change: Any) -> None:
        if not self._moving:
            self._move(*(knob.value for knob in self.knobs))

    def _step(self, _button: Any) -> None:
        position = self.neuron.descend(self.weight, self.bias, LR, 1)[-1]
        self._moving = True  # the sliders follow: they must not move the knobs again
        try:
            for knob, value in zip(self.knobs, position, strict=True):
                knob.value = float(value)
        finally:
            self._moving = False
        self._move(*position)

    def _move(self, weight: float, bias: float) -> None:
        self.path = np.vstack([self.path, [weight, bias]])
        self._paint()

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        line, surface = neuron_line.spec, neuron_surface.spec
        show_together(
            {
                self._line: line(*self._points, self.weight, self.bias, self.loss),
                self._map: surface(*self._surface, self.weight, self.bias, self.path),
            }
        )
        to_weight, to_bias = self.neuron.gradient(self.weight, self.bias)
        self.status.value = (
            f"loss <b>{self.loss:.4f}</b> · its slope: {to_weight:+.3f} per unit of weight, "
            f"{to_bias:+.3f} per unit of bias"
        )
