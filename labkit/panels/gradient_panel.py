"""A gradient check with a mistake to make on purpose, and with ε on a slider."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.figures import check_by_eps, gradient_errors
from labkit.figures.base import Spec
from labkit.panels.base import Panel
from labkit.panels.markup import write
from labkit.toys.gradients.backprop import MISTAKES, TinyNetwork
from labkit.toys.gradients.check import EPS, GradientCheck, errors_by_eps, gradient_check

if TYPE_CHECKING:
    import ipywidgets


class GradientPanel(Panel):
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

    pictures = ("errors", "by eps")

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
        super().__init__(interactive=interactive)
        self.network = network or TinyNetwork()
        self._data: dict[str, Any] = {"inputs": (x1, x2), "targets": target}
        self.mistake, self.eps = mistake, eps
        self.check = self._look()
        self._open()

    def _look(self) -> GradientCheck:
        return gradient_check(self.network, **self._data, mistake=self.mistake, eps=self.eps)

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
        """Each tensor's error, and the check's own error against ε."""
        check = self.check
        found = errors_by_eps(self.network, **self._data, mistake=self.mistake)
        return {
            "errors": gradient_errors.spec(check.errors, check.tolerance, eps=self.eps),
            "by eps": check_by_eps.spec(*found, at=self.eps),
        }

    def static(self) -> list[Any]:
        """The verdict and both figures."""
        from IPython.display import HTML

        return [HTML(self._verdict()), *self.figures()]

    def _tell(self) -> None:
        write(self.status, self._verdict())

    def _verdict(self) -> str:
        color = (
            "var(--jp-success-color1,#2e7d32)"
            if self.check.passed
            else "var(--jp-warn-color0,#b35900)"
        )
        made = html.escape(f"In the backward pass {MISTAKES[self.mistake]}.")
        return f"{made} <b style='color:{color}'>{html.escape(self.check.message)}</b>"

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.fields import LogSlider

        self.mistakes = parts.menu(
            "mistake",
            [(words, name) for name, words in MISTAKES.items()],
            self.mistake,
            "what goes wrong in the backward pass",
            label="60px",
            width="420px",
        )
        self.size = LogSlider(
            1e-12,
            1.0,
            self.eps,
            description="ε",
            tooltip="how far each weight is moved, both ways",
            style={"description_width": "60px"},
            layout=widgets.Layout(width="320px"),
        )
        self.on_edit(self.mistakes, lambda mistake: self._turn(mistake, self.eps))
        self.on_edit(self.size, lambda eps: self._turn(self.mistake, eps))
        return [parts.row(self.mistakes, self.size)]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        return parts.above(controls, [self.status, self.message], self.live.values())

    def _turn(self, mistake: str, eps: float) -> None:
        self.mistake, self.eps = mistake, eps
        self.check = self._look()
        self.paint()
