"""Fine-tuning of a detector: losses, precision, learning rate, and how far each layer moves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import (
    Spec,
    decades,
    extent,
    figure,
    finite,
    limits,
    nice,
    positive,
    smooth,
    thin,
)

Dict = dict[str, Any]

EPOCH = "epoch"
_ROWS = ([0.60, 1.0], [0.24, 0.53], [0.0, 0.15])  # losses, precision, learning rate
_COLUMNS = 200  # the most steps in the map of updates


@figure
def fine_tuning_curves(
    steps: np.ndarray,
    losses: Mapping[str, np.ndarray],
    lr: np.ndarray,
    epochs: np.ndarray,
    precision: Mapping[str, np.ndarray],
    *,
    steps_per_epoch: int,
    end: int,
    best: int | None = None,
    height: int = 470,
) -> Spec:
    """Loss parts, precision on the validation images and learning rate, over the epochs.

    Thin lines are single batches, bold ones their running mean.

    Args:
        steps: `(n,)`, the number of each step, from 1.
        losses: by name, the parts of the loss at each step, `(n,)`.
        lr: the learning rate that was used at each step, `(n,)`.
        epochs: `(k,)`, those after which the detector was evaluated.
        precision: by name (`mAP50`), `(k,)` numbers from 0 to 1.
        steps_per_epoch: how many steps an epoch has.
        end: the number of epochs, where the axis ends.
        best: the epoch whose weights are kept, marked with a star.
        height: in pixels.
    """
    steps = np.asarray(steps, np.float64)
    places = steps / max(1, steps_per_epoch)
    losses = {name: finite(np.asarray(values)) for name, values in losses.items()}
    data: list[Dict] = []
    for (name, values), color in zip(losses.items(), theme.CATEGORIES, strict=False):
        index = thin(len(values))
        data.append(
            _line(name, places[index], positive(values[index]), theme.rgba(color, 0.4), 1)
            | {"showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
        )
        index, means = smooth(values, max(1, steps_per_epoch // 2))
        hover = f"{name}<br>step %{{customdata}}: %{{y:.4g}}<extra></extra>"
        data.append(
            _line(name, places[index], positive(means), color, 2)
            | {"customdata": steps[index], "hovertemplate": hover}
        )
    data += _precision(np.asarray(epochs, np.float64), precision, best)
    index = thin(len(places))
    rate = finite(np.asarray(lr))
    hover = "step %{customdata}: learning rate %{y:.4g}<extra></extra>"
    data.append(
        _line("learning rate", places[index], rate[index], theme.INK, 2)
        | {"yaxis": "y3", "showlegend": False, "customdata": steps[index], "hovertemplate": hover}
    )
    layout = theme.layout("Fine-tuning: losses, precision and learning rate", height=height)
    layout["xaxis"] = epoch_axis(end, anchor="y3")
    layout["yaxis"] = log_axis("loss", decades(*losses.values()), domain=_ROWS[0])
    layout["yaxis2"] = _share("precision", _ROWS[1])
    top = extent(rate) or (0.0, 1.0)
    layout["yaxis3"] = axis("lr", limits(np.array([0.0, 1.03 * top[1]])), domain=_ROWS[2], nticks=3)
    layout["legend2"] = {**theme.LEGEND, "y": _ROWS[1][1] + 0.005}
    return {"data": data, "layout": layout}


def epoch_axis(end: float, **more: Any) -> Dict:
    """The axis of epochs, with ticks at whole ones."""
    every = max(1, round(nice(max(1.0, end) / 8)))
    return axis(EPOCH, [0, max(1.0, end)], tick0=0, dtick=every, **more)


def _precision(
    epochs: np.ndarray, precision: Mapping[str, np.ndarray], best: int | None
) -> list[Dict]:
    """A line with dots for each kind of mAP, and a star at the epoch whose weights are kept."""
    colors = (theme.VALIDATION, theme.PURPLE, *theme.CATEGORIES)
    data: list[Dict] = []
    for (name, values), color in zip(precision.items(), colors, strict=False):
        found = finite(np.asarray(values))
        kept = epochs == best
        for words, mode, shown, marker in (
            (name, "lines+markers", np.ones(len(epochs), bool), {"size": 6}),
            (f"{name}, kept", "markers", kept, {"size": 14, "symbol": "star"}),
        ):
            data.append(
                _line(words, epochs[shown], found[shown], color, 2)
                | {
                    "mode": mode,
                    "cliponaxis": False,
                    "yaxis": "y2",
                    "legend": "legend2",
                    "legendgroup": name,
                    "showlegend": words == name,
                    "marker": {"color": color, **marker},
                    "hovertemplate": f"{words}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
                }
            )
    return data


def _share(title: str, domain: Sequence[float] = (0, 1)) -> Dict:
    return axis(title, [0, 1.03], domain=list(domain), tickvals=[0, 0.25, 0.5, 0.75, 1])


def _line(name: str, x: np.ndarray, y: np.ndarray, color: str, width: float) -> Dict:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": width},
    }


@figure
def layer_updates(
    steps: np.ndarray,
    layers: Sequence[str],
    updates: np.ndarray,
    *,
    steps_per_epoch: int,
    end: int,
    height: int | None = None,
) -> Spec:
    """How far each layer is moved, over the epochs: a row per layer, the input at the top.

    The row of a layer that does not move, since it is frozen, is empty.

    Args:
        steps: `(n,)`, the number of each recorded step.
        layers: their names, from input to output.
        updates: `(n, layers)`, ‖update‖ / ‖weights‖ of each; 0 where it was not moved.
        steps_per_epoch: how many steps an epoch has.
        end: the number of epochs, where the axis ends.
        height: in pixels.
    """
    steps = np.asarray(steps, np.float64)
    index = thin(len(steps), _COLUMNS)
    values = positive(np.asarray(updates).reshape(len(steps), len(layers))[index])
    low, high = (math.floor(x) if x < 0 else math.ceil(x) for x in _whole(values))
    rows = np.arange(len(layers), dtype=np.float64)
    trace: Dict = {
        "type": "heatmap",
        "x": np.append(0, steps[index]) / max(1, steps_per_epoch),  # a cell's edges
        "y": rows,
        "z": np.log10(values).T,
        "customdata": values.T,
        "text": [[f"{name}, step {step:.0f}" for step in steps[index]] for name in layers],
        "zmin": low,
        "zmax": high,
        "colorscale": theme.SEQUENTIAL,
        "hoverongaps": False,
        "hovertemplate": "%{text}<br>%{customdata:.3g}<extra></extra>",
        "colorbar": {
            "title": {"text": "‖update‖ / ‖weights‖", "side": "right", "font": {"size": 12}},
            "thickness": 12,
            "outlinewidth": 0,
            "tickvals": list(range(low, high + 1)),
            "ticktext": [f"10<sup>{k}</sup>" for k in range(low, high + 1)],
        },
    }
    count = max(1, len(layers))
    widest = max((len(name) for name in layers), default=1)
    layout = theme.layout(
        "How far each layer is moved", height=height or 90 + 13 * max(20, count), legend=False
    )
    layout["margin"] = {**layout["margin"], "l": max(74, 30 + 6.4 * widest)}
    layout["xaxis"] = epoch_axis(end, showgrid=False)
    every = math.ceil(count / 30)
    layout["yaxis"] = axis(
        "layer, from the input to the output",
        [count - 0.5, -0.5],
        tickvals=rows[::every],
        ticktext=list(layers)[::every],
        tickfont={"size": 10},
        showgrid=False,
    )
    return {"data": [trace], "layout": layout}


def _whole(values: np.ndarray) -> tuple[float, float]:
    """Whole exponents of ten around all numbers, so that the colour scale rarely changes."""
    low, high = extent(np.log10(values)) or (-4.0, -2.0)
    low, high = math.floor(low), math.ceil(high)
    return low, max(high, low + 1)
