"""A gradient check with a mistake to make on purpose, and with ε on a slider."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from labkit.figures import check_by_eps, gradient_errors
from labkit.toys.gradients.backprop import MISTAKES, TinyNetwork
from labkit.toys.gradients.check import EPS, GradientCheck, errors_by_eps, gradient_check

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go


class GradientPanel:
    """Break the backward pass of a 2-2-1 network, and see what a gradient check says.

    Args:
        network: its weights.
        x1, x2: the inputs.
        target: what the output should be.
        mistake: one of `labkit.toys.gradients.backprop.MISTAKES`.
        eps: how far each weight is moved to measure its gradient.
        interactive: whether somebody is there; otherwise plain figures are shown.

    Attributes:
        check: what the check found.

    Raises:
        LabError: an unknown mistake, or a value out of range.
    """

    def __init__(
        self,
        network: TinyNetwork | None = None,
        *,
        x1: float = 1.0,
        x2: float = -0.5,
        target: float = 1.0,
        mistake: str = "none",
        eps: float = EPS,
        interactive: bool = True,
    ) -> None:
        self.network = network or TinyNetwork()
        self._data: dict[str, Any] = {"inputs": (x1, x2), "targets": target}
        self.mistake, self.eps, self.interactive = mistake, eps, interactive
        self.check = self._look()
        if interactive:
            self._build()

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """Each tensor's error, and the check's own error against ε."""
        (bars, bars_words), (curve, curve_words) = self._specs()
        return gradient_errors(*bars, **bars_words), check_by_eps(*curve, **curve_words)

    def _look(self) -> GradientCheck:
        return gradient_check(self.network, **self._data, mistake=self.mistake, eps=self.eps)

    def _specs(self) -> tuple[Any, Any]:
        found = errors_by_eps(self.network, **self._data, mistake=self.mistake)
        check = self.check
        return (
            ((check.errors, check.tolerance), {"eps": self.eps}),
            (found, {"at": self.eps}),
        )

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if self.interactive:
            display(self.widget)
        else:
            display(HTML(self._verdict()), *self.figures())

    def _verdict(self) -> str:
        color = (
            "var(--jp-success-color1,#2e7d32)"
            if self.check.passed
            else "var(--jp-warn-color0,#b35900)"
        )
        made = html.escape(f"In the backward pass {MISTAKES[self.mistake]}.")
        return f"{made} <b style='color:{color}'>{html.escape(self.check.message)}</b>"

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.fields import LogSlider
        from labkit.panels.live_figure import LiveFigure

        style = {"description_width": "60px"}
        self.mistakes = widgets.Dropdown(
            options=[(words, name) for name, words in MISTAKES.items()],
            value=self.mistake,
            description="mistake",
            tooltip="what goes wrong in the backward pass",
            style=style,
            layout=widgets.Layout(width="420px"),
        )
        self.size = LogSlider(
            1e-12,
            1.0,
            self.eps,
            description="ε",
            tooltip="how far each weight is moved, both ways",
            style=style,
            layout=widgets.Layout(width="320px"),
        )
        for widget in (self.mistakes, self.size):
            widget.observe(self._turn, "value")
        self.status = widgets.HTML()
        self._bars, self._curve = LiveFigure(), LiveFigure()
        half = widgets.Layout(flex="1 1 340px", min_width="300px")
        pictures = [widgets.VBox([picture], layout=half) for picture in (self._bars, self._curve)]
        wrap = {"flex_flow": "row wrap"}
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HBox([self.mistakes, self.size], layout=wrap),
                self.status,
                widgets.HBox(pictures, layout=wrap),
            ]
        )
        self._paint()

    def _turn(self, _change: Any) -> None:
        self.mistake, self.eps = self.mistakes.value, self.size.value
        self.check = self._look()
        self._paint()

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        (bars, bars_words), (curve, curve_words) = self._specs()
        show_together(
            {
                self._bars: gradient_errors.spec(*bars, **bars_words),
                self._curve: check_by_eps.spec(*curve, **curve_words),
            }
        )
        self.status.value = self._verdict()
