"""One neuron with a weight and a bias: the smallest model that can be trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LIMIT = 3.0  # of both knobs


@dataclass(frozen=True)
class Neuron:
    """The task of one neuron `y = weight * x + bias`: points scattered around a line.

    Attributes:
        weight, bias: the line that made the points, for the reader to find.
        noise: standard deviation of the points around it.
        samples: how many points.
        seed: of the points.
    """

    weight: float = 1.5
    bias: float = -0.5
    noise: float = 0.2
    samples: int = 40
    seed: int = 0

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs in [-1, 1] and noisy targets, `(samples,)` each."""
        rng = np.random.default_rng(self.seed)
        x = rng.uniform(-1, 1, self.samples)
        return x, self.weight * x + self.bias + rng.normal(0, self.noise, self.samples)

    def loss(self, weight: float | np.ndarray, bias: float | np.ndarray) -> np.ndarray:
        """Mean squared error of a line, or of many at once (arrays of one shape)."""
        x, y = self.points()
        predicted = np.multiply.outer(weight, x) + np.asarray(bias)[..., None]
        return np.mean((predicted - y) ** 2, axis=-1)

    def gradient(self, weight: float, bias: float) -> tuple[float, float]:
        """How the loss changes per unit of weight and of bias."""
        x, y = self.points()
        error = weight * x + bias - y
        return float(2 * np.mean(error * x)), float(2 * np.mean(error))

    def surface(self, resolution: int = 61) -> tuple[np.ndarray, np.ndarray]:
        """Knob positions `(n,)` and the loss `(n, n)` at each, rows by bias."""
        knob = np.linspace(-LIMIT, LIMIT, resolution)
        weight, bias = np.meshgrid(knob, knob)
        return knob, self.loss(weight, bias)

    def descend(self, weight: float, bias: float, lr: float, steps: int) -> np.ndarray:
        """The path of gradient descent, `(steps + 1, 2)`, from a position of the knobs."""
        path = [(weight, bias)]
        for _ in range(steps):
            to_weight, to_bias = self.gradient(weight, bias)
            weight, bias = weight - lr * to_weight, bias - lr * to_bias
            path.append((weight, bias))
        return np.array(path)

    def best(self) -> tuple[float, float]:
        """The least-squares solution: no line has a lower loss on these points."""
        x, y = self.points()
        weight, bias = np.polyfit(x, y, 1)
        return float(weight), float(bias)
