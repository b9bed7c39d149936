"""Nine guesses, one of them far off: what an outlier does to the number each loss likes best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import outlier_fit, outlier_pull
from labkit.figures.base import Spec
from labkit.panels.base import Panel
from labkit.panels.loss_panel import LABEL, argument_slider, loss_colors, number_within
from labkit.toys.gradients.losses import LOSSES, best_constant

if TYPE_CHECKING:
    import ipywidgets

OUTLIERS = (4.0, 20.0)
GUESSES = 8


class OutlierPanel(Panel):
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
    pictures = ("fit", "pull")

    def __init__(
        self,
        *,
        outlier: float = 12.0,
        delta: float = 1.0,
        seed: int = 0,
        interactive: bool = True,
    ) -> None:
        super().__init__(interactive=interactive)
        self.outlier = number_within("outlier", outlier, *OUTLIERS)
        self.delta = delta
        self.guesses = np.random.default_rng(seed).normal(4.0, 0.8, GUESSES)
        self._far = np.linspace(*OUTLIERS, 81)
        self._lines: dict[str, np.ndarray] = {}
        self.best()  # refuses a delta outside its limits
        self._open()

    @property
    def values(self) -> np.ndarray:
        """All nine guesses, the outlier last."""
        return np.append(self.guesses, self.outlier)

    def best(self) -> dict[str, float]:
        """The best single number by each loss."""
        return {
            name: float(best_constant(name, self.values, self._own(name))) for name in self.LOSSES
        }

    def _own(self, name: str) -> Mapping[str, float]:
        return {"delta": self.delta} if name == "huber" else {}

    def _specs(self) -> dict[str, Spec]:
        """The guesses with the best numbers, and those while the outlier moves away."""
        best = self.best()
        for name in self.LOSSES:
            if name not in self._lines:
                several = np.empty((len(self._far), GUESSES + 1))
                several[:, :-1], several[:, -1] = self.guesses, self._far
                self._lines[name] = best_constant(name, several, self._own(name))
        lines = {name: self._lines[name] for name in self.LOSSES}
        colors = loss_colors("regression")
        span = (float(min(self.guesses)) - 0.8, OUTLIERS[1] + 0.8)
        return {
            "fit": outlier_fit.spec(self.values, best, unit="m", colors=colors, span=span),
            "pull": outlier_pull.spec(
                self._far, lines, unit="m", colors=colors, outlier=self.outlier, points=best
            ),
        }

    def _controls(self) -> list[Any]:
        from labkit.panels import parts

        tip = "what the ninth person guessed, in metres"
        self.sliders = {
            "outlier": parts.slider("outlier", self.outlier, OUTLIERS, 0.1, tip, label=LABEL),
            "delta": argument_slider(LOSSES["huber"].parameters()["delta"], self.delta),
        }
        for name, slider in self.sliders.items():
            self.on_edit(slider, partial(self._turn, name))
        return [parts.row(*self.sliders.values())]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        return parts.above(controls, [self.message], self.live.values())

    def _turn(self, name: str, value: float) -> None:
        setattr(self, name, value)
        if name == "delta":
            self._lines.pop("huber", None)
        self.paint()
