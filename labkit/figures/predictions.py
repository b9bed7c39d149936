"""What a network predicts: a boundary in the plane, a fitted curve, digits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, finite, limits

if TYPE_CHECKING:
    from labkit.recipe.tasks import Data
    from labkit.training.predict import Curve, Predictions, ProbabilityMap

Dict = dict[str, Any]

# Two classes have the colours of the signs, so that a boundary and the weights that make it
# match: a positive output means class 1.
TWO = (theme.NEGATIVE, theme.POSITIVE)


@figure
def decision_boundary(predicted: ProbabilityMap, data: Data) -> Spec:
    """The predicted class over the plane, and the samples: dots train, diamonds validate.

    The background's opacity is the probability of the predicted class: it fades where the
    network is undecided.
    """
    classes = len(predicted.probabilities)
    colors = TWO if classes == 2 else theme.CATEGORIES[:classes]
    paint = _two if classes == 2 else _many
    background = {
        "type": "heatmap",
        "x": predicted.x,
        "y": predicted.y,
        "showscale": False,
        **paint(predicted.probabilities, colors),
    }
    layout = theme.layout("Decision boundary", height=380)
    low, high = float(predicted.x[0]), float(predicted.x[-1])
    square = {"constrain": "domain", "showgrid": False}
    layout["xaxis"] = axis("input 1 (no unit)", [low, high], **square)
    layout["yaxis"] = axis("input 2 (no unit)", [low, high], scaleanchor="x", **square)
    return {"data": [background, *_samples(data, colors)], "layout": layout}


def _two(probabilities: np.ndarray, colors: tuple[str, ...]) -> Dict:
    low, high = colors
    scale = [
        [0.0, theme.rgba(low, 0.55)],
        [0.5, theme.rgba("#808080", 0.04)],
        [1.0, theme.rgba(high, 0.55)],
    ]
    return {
        "z": np.asarray(probabilities[1], np.float32),
        "zmin": 0,
        "zmax": 1,
        "zsmooth": "best",
        "colorscale": scale,
        "hovertemplate": "(%{x:.3f}, %{y:.3f})<br>P(class 1) = %{z:.4f}<extra></extra>",
    }


def _many(probabilities: np.ndarray, colors: tuple[str, ...]) -> Dict:
    """Each class has a part of one scale, a unit wide around its number: pale to full."""
    classes = len(probabilities)
    best = probabilities.max(axis=0)
    sure = (best - 1 / classes) / (1 - 1 / classes)
    z = probabilities.argmax(axis=0) - 0.49 + 0.98 * sure
    scale: list[list[Any]] = []
    for k, color in enumerate(colors):
        ends = (k / classes, theme.rgba(color, 0.05)), ((k + 1) / classes, theme.rgba(color, 0.55))
        scale += [list(end) for end in ends]
    return {
        "z": z.astype(np.float32),
        "zmin": -0.5,
        "zmax": classes - 0.5,
        "zsmooth": False,
        "colorscale": scale,
        "customdata": np.asarray(best, np.float32),
        "hovertemplate": "(%{x:.3f}, %{y:.3f})<br>P(class %{z:.0f}) = %{customdata:.4f}"
        "<extra></extra>",
    }


def _samples(data: Data, colors: tuple[str, ...]) -> list[Dict]:
    traces = []
    for split, short, symbol, size in (
        ("training", "train", "circle", 6),
        ("validation", "val", "diamond", 7),
    ):
        inputs = np.asarray(getattr(data, f"{short}_inputs"))
        targets = np.asarray(getattr(data, f"{short}_targets"))
        for k, color in enumerate(colors):
            points = inputs[targets == k]
            name = f"class {k}, {split}"
            # One legend entry per class, and one for the diamonds.
            legend = f"class {k}" if split == "training" else split
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": legend,
                    "showlegend": split == "training" or k == 0,
                    "x": points[:, 0],
                    "y": points[:, 1],
                    "marker": {
                        "symbol": symbol,
                        "size": size,
                        "color": color,
                        "line": {"color": theme.OUTLINE, "width": 0.8},
                    },
                    "hovertemplate": f"{name}<br>(%{{x:.4f}}, %{{y:.4f}})<extra></extra>",
                }
            )
    return traces


@figure
def regression_fit(curve: Curve, data: Data) -> Spec:
    """The fitted curve of one input, and the samples: dots train, diamonds validate."""
    traces: list[Dict] = []
    for name, short, symbol, color in (
        ("training", "train", "circle", theme.TRAINING),
        ("validation", "val", "diamond", theme.VALIDATION),
    ):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{name} samples",
                "x": np.asarray(getattr(data, f"{short}_inputs"))[:, 0],
                "y": np.asarray(getattr(data, f"{short}_targets"))[:, 0],
                "marker": {"symbol": symbol, "size": 6, "color": color, "opacity": 0.8},
                "hovertemplate": "(%{x:.4f}, %{y:.4f})" + f"<extra>{name}</extra>",
            }
        )
    span = limits(traces[0]["y"], traces[1]["y"])
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "network",
            "x": curve.x,
            "y": finite(curve.y),
            "line": {"color": theme.GREEN, "width": 3},
            "hovertemplate": "network(%{x:.4f}) = %{y:.5g}<extra></extra>",
        }
    )
    layout = theme.layout("Fitted curve")
    layout["xaxis"] = axis("input x (no unit)", [float(curve.x[0]), float(curve.x[-1])])
    layout["yaxis"] = axis("target y (no unit)", span)
    return {"data": traces, "layout": layout}


# --- pictures -----------------------------------------------------------------------------

_FONT = {
    0: "111101101101111", 1: "010110010010111", 2: "111001111100111", 3: "111001111001111",
    4: "101101111001001", 5: "111100111001111", 6: "111100111101111", 7: "111001010010010",
    8: "111101111101111", 9: "111101111001111",
}  # fmt: skip
_COLUMNS = 8
# On the colour scale from 0 to 4: 0 to 1 is ink, around 2 a correct answer, 3 to 4 ink in an
# error's colour, 4 its frame and its answer.
_RIGHT, _TINTED, _WRONG = 2.0, 3.0, 4.0
_SCALE = [
    [0.0, theme.rgba("#808080", 0.10)],
    [0.25, theme.rgba(theme.TEXT, 1)],
    [0.375, theme.rgba(theme.POSITIVE, 1)],
    [0.625, theme.rgba(theme.POSITIVE, 1)],
    [0.75, theme.rgba(theme.WARNING, 0.14)],
    [1.0, theme.rgba(theme.WARNING, 1)],
]


@figure
def digit_predictions(predictions: Predictions) -> Spec:
    """Pictures, each with the predicted digit beside it; wrong ones are red and framed.

    Everything is one heat map, the printed digits too, so that it repaints quickly.
    """
    images = np.asarray(predictions.images, np.float64)
    count, high, wide = images.shape
    wrong = predictions.predicted != predictions.true
    columns = min(_COLUMNS, max(1, count))
    rows = -(-count // columns)
    glyphs = _glyphs()[np.clip(predictions.predicted, 0, 9)]
    tiles = np.full((rows * columns, high + 4, wide + 9), np.nan)
    box = tiles[:count, 1 : high + 3, 1 : wide + 3]
    ink = np.clip(np.nan_to_num(images), 0, 1)
    box[:] = np.where(wrong, _WRONG, np.nan)[:, None, None]  # the frame
    box[:, 1:-1, 1:-1] = ink + np.where(wrong, _TINTED, 0.0)[:, None, None]
    low = 1 + (high + 2 - 5) // 2
    shown = np.where(wrong, _WRONG, _RIGHT)[:, None, None]
    tiles[:count, low : low + 5, wide + 4 : wide + 7] = np.where(glyphs, shown, np.nan)
    grid = tiles.reshape(rows, columns, high + 4, wide + 9).transpose(0, 2, 1, 3)
    z = grid.reshape(rows * (high + 4), -1)
    picture = {
        "type": "heatmap",
        "z": z.astype(np.float32),
        "zmin": 0,
        "zmax": _WRONG,
        "colorscale": _SCALE,
        "showscale": False,
        "hoverinfo": "skip",
    }
    place = np.arange(count)
    answers = {
        "type": "scatter",
        "mode": "markers",
        "name": "answer",
        "x": (place % columns) * (wide + 9) + (wide + 9) / 2.0,
        "y": (place // columns) * (high + 4) + (high + 3) / 2.0,
        "marker": {"size": 34, "opacity": 0, "color": theme.INK},
        "text": _answers(predictions),
        "hovertemplate": "%{text}<extra></extra>",
    }
    layout = theme.layout("Predictions of validation pictures", height=290, legend=False)
    layout["margin"] = {"l": 10, "r": 10, "t": 10, "b": 34}
    blank: Dict = {"showgrid": False, "showticklabels": False, "ticks": ""}
    words = "validation pictures, the prediction beside each; errors are framed"
    layout["xaxis"] = axis(words, [-0.5, z.shape[1] - 0.5], constrain="domain", **blank)
    down = [z.shape[0] - 0.5, -0.5]
    layout["yaxis"] = axis("", down, scaleanchor="x", constrain="domain", **blank)
    return {"data": [picture, answers], "layout": layout}


def _answers(predictions: Predictions) -> list[str]:
    rows = zip(
        predictions.true.tolist(),
        predictions.predicted.tolist(),
        predictions.confidence.tolist(),
        strict=True,
    )
    return [f"predicted {p} with probability {c:.2%}<br>true digit {t}" for t, p, c in rows]


@lru_cache(maxsize=1)
def _glyphs() -> np.ndarray:
    """Digits of 3 by 5 pixels: `(10, 5, 3)`, True where there is ink."""
    return np.array([[int(c) for c in _FONT[k]] for k in range(10)], bool).reshape(10, 5, 3)
