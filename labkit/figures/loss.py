"""Loss and accuracy over the steps, of one run or of several that race."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, events, horizon, log_axis, step_axis
from labkit.figures.base import Spec, decades, figure, finite, limits, positive, smooth, thin

if TYPE_CHECKING:
    from labkit.training.history import History

_HOVER = "step %{x}: %{y:.5g}"
_SPLITS = (
    ("train", "training set", theme.TRAINING),
    ("val", "validation set", theme.VALIDATION),
)


@figure
def loss_curves(
    histories: History | Mapping[str, History],
    *,
    steps: int | None = None,
    log: bool = True,
    height: int | None = None,
) -> Spec:
    """Loss over the steps and, for classification, accuracy below it.

    One run shows the loss of each batch (thin), its running mean, and the losses of the
    whole training and validation sets. A race shows for each contender, in one colour, the
    running mean of the batch loss (thin) and the validation loss (bold).

    Args:
        histories: one run, or runs by name.
        steps: where the step axis ends; by default at the number of steps that the history
            recorded.
        log: whether losses are on a log axis.
        height: in pixels; by default what its one or two plots need.
    """
    runs = dict(histories) if isinstance(histories, Mapping) else {"": histories}
    end = horizon(runs.values(), steps)
    shown = positive if log else finite
    classified = any(_classified(history) for history in runs.values())
    data: list[dict[str, Any]] = []
    if len(runs) == 1:
        ((name, history),) = runs.items()
        data = _single(history, end, shown, classified)
    else:
        for number, (name, history) in enumerate(runs.items()):
            color = theme.CATEGORIES[number % len(theme.CATEGORIES)]
            dash = "solid" if number < len(theme.CATEGORIES) else "dash"
            data += _contender(name, history, end, shown, classified, color, dash)
    span = (decades if log else limits)(*_losses(runs.values()))
    unit = "loss (nats)" if classified else "loss (squared error)"
    make = log_axis if log else axis
    usual = 380 if classified else theme.HEIGHT
    layout = theme.layout("Loss curves", height=height or usual)
    layout |= events(runs.values(), end, layout)
    layout["yaxis"] = make(unit, span, domain=[0.44, 1] if classified else [0, 1])
    layout["xaxis"] = step_axis(end, anchor="y2" if classified else "y")
    if len(runs) > 1:
        layout["xaxis"]["title"]["text"] += "; bold lines: validation"
    if classified:
        layout["yaxis2"] = axis(
            "accuracy",
            [0, 1.03],
            domain=[0, 0.34],
            tickvals=[0, 0.5, 1],
            tickformat=".0%",
        )
    return {"data": data, "layout": layout}


def _classified(history: History) -> bool:
    return bool(np.isfinite(history.curve("val_accuracy")[1][:1]).any())


def _losses(histories: Any) -> list[np.ndarray]:
    names = ("loss", "train_loss", "val_loss")
    return [history.curve(name)[1] for history in histories for name in names]


def _window(end: int) -> int:
    return max(1, end // 50)


def _single(history: History, end: int, shown: Any, classified: bool) -> list[dict[str, Any]]:
    x, y = history.curve("loss")
    index = thin(len(y))
    places, means = smooth(y, _window(end))
    faint = theme.rgba(theme.INK, 0.45)
    data = [
        _line("batch", x[index], shown(y[index]), faint, 1) | {"showlegend": False},
        _line("batches (mean)", x[places], shown(means), theme.INK, 1.5),
    ]
    for name, words, color in _SPLITS:
        steps, values = history.curve(f"{name}_loss")
        data.append(_line(words, steps, shown(values), color, 2) | {"legendgroup": words})
    if classified:
        data += [_accuracy(words, history, name, color) for name, words, color in _SPLITS]
    return data


def _contender(
    name: str, history: History, end: int, shown: Any, classified: bool, color: str, dash: str
) -> list[dict[str, Any]]:
    x, y = history.curve("loss")
    places, means = smooth(y, _window(end))
    steps, values = history.curve("val_loss")
    group = {"legendgroup": name}
    thin_line = _line(f"{name}, batches", x[places], shown(means), theme.rgba(color, 0.5), 1)
    bold = _line(name, steps, shown(values), color, 2.5)
    bold["line"]["dash"] = dash
    data = [thin_line | group | {"showlegend": False}, bold | group]
    if classified:
        accuracy = _accuracy(name, history, "val", color) | group
        accuracy["line"]["dash"] = dash
        data.append(accuracy)
    return data


def _accuracy(words: str, history: History, split: str, color: str) -> dict[str, Any]:
    steps, values = history.curve(f"{split}_accuracy")
    line = _line(words, steps, finite(values), color, 2)
    hover = f"{words}<br>step %{{x}}: %{{y:.2%}}<extra></extra>"
    return line | {"yaxis": "y2", "showlegend": False, "legendgroup": words, "hovertemplate": hover}


def _line(name: str, x: np.ndarray, y: np.ndarray, color: str, width: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": width},
        "hovertemplate": f"{name}<br>{_HOVER}<extra></extra>",
    }
