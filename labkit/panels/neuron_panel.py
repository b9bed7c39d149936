"""Two knobs, one neuron: tuning weights by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import neuron_line, neuron_surface
from labkit.figures.base import Spec
from labkit.panels.base import Panel
from labkit.panels.markup import write
from labkit.toys.neuron import LIMIT, Neuron

if TYPE_CHECKING:
    import ipywidgets

LR = 0.3


class NeuronPanel(Panel):
    """Turn a neuron's weight and bias by hand, or let the gradient turn them.

    Args:
        neuron: the points to hit.
        weight, bias: where the knobs start.
        interactive: whether somebody is there; otherwise plain figures are shown.

    Attributes:
        path: every position of the knobs so far, `(k, 2)`.
    """

    pictures = ("line", "surface")

    def __init__(
        self,
        neuron: Neuron | None = None,
        *,
        weight: float = 0.0,
        bias: float = 0.0,
        interactive: bool = True,
    ) -> None:
        super().__init__(interactive=interactive)
        self.neuron = neuron or Neuron()
        self.path = np.array([[weight, bias]])
        self._points = self.neuron.points()
        self._surface = self.neuron.surface()
        self._open()

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

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
        """The line through the points, and the knobs on the loss surface."""
        path = self.path
        weight, bias = map(float, path[-1])
        loss = float(self.neuron.loss(weight, bias))
        return {
            "line": neuron_line.spec(*self._points, weight, bias, loss),
            "surface": neuron_surface.spec(*self._surface, weight, bias, path),
        }

    def _tell(self) -> None:
        to_weight, to_bias = self.neuron.gradient(self.weight, self.bias)
        write(
            self.status,
            f"loss <b>{self.loss:.4f}</b> · its slope: {to_weight:+.3f} per unit of weight, "
            f"{to_bias:+.3f} per unit of bias",
        )

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        from labkit.panels import parts

        tips = (
            "how strongly the input counts, and in which direction",
            "the neuron's output when the input is zero",
        )
        self.knobs = tuple(
            parts.slider(name, value, (-LIMIT, LIMIT), 0.05, tip, label="60px")
            for name, value, tip in zip(
                ("weight", "bias"), (self.weight, self.bias), tips, strict=True
            )
        )
        self.on_edit(self.knobs[0], lambda weight: self._move(weight, self.bias))
        self.on_edit(self.knobs[1], lambda bias: self._move(self.weight, bias))
        self.downhill = parts.button(
            "One step downhill", "step-forward", f"a gradient step with learning rate {LR}"
        )
        self.on_click(self.downhill, self._step)
        return [parts.row(*self.knobs, self.downhill)]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        return parts.above(controls, [self.status, self.message], self.live.values())

    def _step(self) -> None:
        weight, bias = self.neuron.descend(self.weight, self.bias, LR, 1)[-1]
        self._move(float(weight), float(bias))
        self.fill()

    def _fill(self) -> None:
        for knob, value in zip(self.knobs, self.path[-1], strict=True):
            knob.value = float(value)

    def _move(self, weight: float, bias: float) -> None:
        self.path = np.vstack([self.path, [weight, bias]])
        self.paint()
