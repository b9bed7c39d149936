"""A backward pass as a picture: every number of a 2-2-1 network at its place, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure, limits

if TYPE_CHECKING:
    from labkit.toys.gradients.backprop import Number, Pass

GRADIENT = "#B0609E"  # readable on white and on black, and unlike the colours of weights
# Fills that carry white text.
_FILLS = {1: "#0072B2", -1: "#B95600", 0: "#6B6B6B"}
_EMPTY = "rgba(128,128,128,0.25)"
_X, _Z, _A, _Y, _L = 0.0, 1.25, 2.0, 3.2, 4.15
_NODES = {
    "x1": (_X, 1.0), "x2": (_X, -1.0), "z1": (_Z, 1.0), "z2": (_Z, -1.0),
    "a1": (_A, 1.0), "a2": (_A, -1.0), "y": (_Y, 0.0), "loss": (_L, 0.0),
}  # fmt: skip
# name, from, to, where along the edge its label is
_EDGES = (
    ("w11", "x1", "z1", 0.5), ("w21", "x1", "z2", 0.26),
    ("w12", "x2", "z1", 0.26), ("w22", "x2", "z2", 0.5),
    ("v1", "a1", "y", 0.5), ("v2", "a2", "y", 0.5),
)  # fmt: skip
_BIASES = {"b1": ("z1", 1), "b2": ("z2", -1), "c": ("y", 1)}
# Half the part of a slanting edge that its label covers: less of a steep one.
_GAP = {"w21": 0.13, "w12": 0.13, "v1": 0.21, "v2": 0.21}
_LINE = 0.17  # from one line of text to the next
_STUB = 0.62  # from a unit to its bias
# Plotly removes a text that becomes empty, and does not restore it later.
NOTHING = "\u00a0"
_FORWARD = ("hidden", "output", "error")
_BACK = ("back_output", "back_hidden", "back_inputs")


@figure
def backward_pass(
    trace: Pass,
    stage: str = "back_inputs",
    *,
    caption: str = "",
    moved: Sequence[Number] = (),
    again: Pass | None = None,
) -> Spec:
    """A 2-2-1 network with the numbers known after a stage; what is new stands out.

    Circles hold values, lines carry weights, and what is purple is a gradient: how much the
    loss changes per unit of the number beside it. Hovering over a number shows its formula
    with the values filled in.

    Args:
        trace: the pass.
        stage: one of `labkit.toys.gradients.backprop.STAGES`.
        caption: a headline above the picture, if any.
        moved: the new weights, for the stages `step` and `again` (`trace.step(lr)`).
        again: the pass with the new weights, for the stage `again`.
    """
    order = (*_FORWARD, *_BACK, "step", "again")
    now = order.index(stage)
    known = {n for n, number in trace.numbers.items() if _when(number.stage, order) <= now}
    new = {n for n, number in trace.numbers.items() if number.stage == stage}
    shown = again if again is not None and stage == "again" else trace
    fresh = {number.name.removeprefix("new "): number for number in moved}
    if stage == "again":
        new |= {"z1", "z2", "a1", "a2", "y", "loss"}
    data = [*_lines(shown), _circles(shown, known, new)]
    data.append(_names(trace, known))
    data.append(_weights(shown, fresh if stage == "step" else {}))
    data.append(_gradients(trace, known if stage != "again" else set(), new))
    data.append(_target(shown, trace, known, stage == "again"))
    layout = theme.layout(_label(trace, stage), height=400, legend=False, hoverdistance=34)
    blank = {"showgrid": False, "showticklabels": False, "ticks": "", "fixedrange": True}
    layout["xaxis"] = axis("", [-0.4, _L + 0.55], **blank)
    layout["yaxis"] = axis("", [-1.9, 1.9], **blank)
    layout["margin"] = {"l": 8, "r": 8, "t": 34 if caption else 8, "b": 8}
    if caption:
        note = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "showarrow": False}
        note |= {"xanchor": "left", "yanchor": "bottom", "align": "left", "text": caption}
        layout["annotations"] = [note | {"font": {"size": 14}}]
    return {"data": data, "layout": layout}


def _when(stage: str, order: Sequence[str]) -> int:
    return order.index(stage) if stage else -1


def _label(trace: Pass, stage: str) -> str:
    return (
        f"A 2-2-1 network at stage {stage}: output {trace['y']:.3f}, target {trace['t']:.3f}, "
        f"loss {trace.loss:.4f}"
    )


def _short(value: float) -> str:
    """A number short enough for a circle."""
    if abs(value) >= 1000 or 0 < abs(value) < 0.0005:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-0", "-0")


def _sign(value: float) -> int:
    return 0 if abs(value) < 5e-4 else (1 if value > 0 else -1)


def _lines(trace: Pass) -> list[dict[str, Any]]:
    """The edges, each as wide as its weight is large, with a gap where its label is."""
    lines = []
    largest = max(1.0, *(abs(v) for v in trace.network.weights.values()))
    for name, source, end, at in _EDGES:
        lines.append(_line(name, _NODES[source], _NODES[end], trace[name], largest, at))
    for name, (unit, side) in _BIASES.items():
        x, y = _NODES[unit]
        lines.append(_line(name, (x, y + side * 0.42), (x, y), trace[name], largest, None))
    for source, end in (("z1", "a1"), ("z2", "a2"), ("y", "loss")):
        lines.append(_line("", _NODES[source], _NODES[end], 0.0, 1.0, None))
    return lines


def _line(
    name: str,
    start: tuple[float, float],
    end: tuple[float, float],
    value: float,
    largest: float,
    at: float | None,
) -> dict[str, Any]:
    half = _GAP.get(name)
    places = [0.0, 1.0]  # its label, if any, is beside it
    if half is not None and at is not None:
        places[1:1] = [at - half, np.nan, at + half]
    t = np.array(places)
    color = {1: theme.POSITIVE, -1: theme.NEGATIVE, 0: theme.LINE}[_sign(value)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name or "no weight",
        "x": start[0] + t * (end[0] - start[0]),
        "y": start[1] + t * (end[1] - start[1]),
        "line": {"color": color, "width": 1.2 + 4 * min(1.0, abs(value) / largest)},
        "hoverinfo": "skip",
    }


def _text(
    places: Sequence[tuple[float, float]],
    words: Sequence[str],
    hovers: Sequence[str],
    *,
    name: str,
    positions: Sequence[str] | str = "middle center",
    color: str | None = None,
    size: int = 13,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "text",
        "name": name,
        "x": np.array([x for x, _ in places]),
        "y": np.array([y for _, y in places]),
        "text": list(words),
        "textposition": positions if isinstance(positions, str) else list(positions),
        # Without a colour of its own a text takes the page's.
        "textfont": {"size": size} | ({"color": color} if color else {}),
        "customdata": list(hovers),
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _circles(trace: Pass, known: set[str], new: set[str]) -> dict[str, Any]:
    names = list(_NODES)
    there = [name in known for name in names]
    outline = [3.5 if name in new else 1 for name in names]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": "values",
        "x": np.array([_NODES[name][0] for name in names]),
        "y": np.array([_NODES[name][1] for name in names]),
        "text": [
            f"<b>{_short(trace[n])}</b>" if k else "?" for n, k in zip(names, there, strict=True)
        ],
        "textfont": {"color": "#FFFFFF", "size": 13},
        "marker": {
            "opacity": 1,
            "size": 54,
            "color": [
                _FILLS[_sign(trace[n])] if k else _FILLS[0]
                for n, k in zip(names, there, strict=True)
            ],
            "line": {
                "color": [theme.YELLOW if name in new else theme.LINE for name in names],
                "width": outline,
            },
        },
        "customdata": [_hover(trace, name, known) for name in names],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _names(trace: Pass, known: set[str]) -> dict[str, Any]:
    """The names of the circles, and the activation function between z and a."""
    above = {"x1": 1, "z1": 1, "a1": 1, "x2": -1, "z2": -1, "a2": -1, "y": -1, "loss": 1}
    places, words, hovers = [], [], []
    for name, side in above.items():
        x, y = _NODES[name]
        shift = -0.13 if name in ("z1", "z2") else 0.0  # beside its bias
        places.append((x + shift, y + side * 0.37))
        words.append(f"<b>{name}</b>")
        hovers.append(_hover(trace, name, known))
    for y in (1.0, -1.0):
        places.append(((_Z + _A) / 2, y + 0.13))
        words.append(trace.network.activation)
        number = trace.numbers["a1" if y > 0 else "a2"]
        hovers.append(f"{number.name} = {number.formula}")
    return _text(places, words, hovers, name="names")


def _weights(trace: Pass, moved: Mapping[str, Number]) -> dict[str, Any]:
    places, words, hovers = [], [], []
    for name, place in _weight_places().items():
        old = _short(trace[name])
        if name in moved:
            words.append(f"{name}: {old} → <b>{_short(moved[name].value)}</b>")
            hovers.append(moved[name].text)
        else:
            words.append(f"{name}: <b>{old}</b>")
            hovers.append(trace.numbers[name].text)
        places.append(place)
    return _text(places, words, hovers, name="weights", size=12)


def _weight_places() -> dict[str, tuple[float, float]]:
    places = {}
    for name, source, end, at in _EDGES:
        (x0, y0), (x1, y1) = _NODES[source], _NODES[end]
        lift = 0.13 * np.sign(y0) if y0 == y1 else _LINE / 2
        places[name] = (x0 + at * (x1 - x0), y0 + at * (y1 - y0) + lift)
    for name, (unit, side) in _BIASES.items():
        x, y = _NODES[unit]
        places[name] = (x, y + side * _STUB)
    return places


def _gradients(trace: Pass, known: set[str], new: set[str]) -> dict[str, Any]:
    """Purple numbers: beside the weights, and beside z, a and y on their inner side."""
    spots = {}
    for name, (x, y) in _weight_places().items():
        beyond = name in _BIASES or name in ("w11", "w22")  # further out; else one line lower
        spots[f"dL/d{name}"] = (x, y + (np.sign(y) if beyond else -1) * _LINE)
    for name, shift in (("z1", 0.12), ("z2", 0.12), ("a1", -0.12), ("a2", -0.12)):
        x, y = _NODES[name]
        spots[f"dL/d{name}"] = (x + shift, y - 0.4 * np.sign(y))
    spots["dL/dy"] = ((_Y + _L) / 2, -0.2)
    words, hovers = [], []
    for name in spots:
        text = f"{name} {_short(trace[name])}" if name in known else NOTHING
        words.append(f"<b>{text}</b>" if name in new else text)
        hovers.append(_hover(trace, name, known))
    return _text(list(spots.values()), words, hovers, name="gradients", color=GRADIENT, size=12)


def _target(shown: Pass, before: Pass, known: set[str], again: bool) -> dict[str, Any]:
    """Beside the output: the target; beside the loss: the error, and the loss before."""
    words, hovers = [f"target {_short(shown['t'])}"], [shown.numbers["t"].text]
    error = f"error {_short(shown['error'])}" if "error" in known else NOTHING
    earlier = f"loss before: {_short(before.loss)}" if again else NOTHING
    words.append(f"{error}<br>{earlier}")
    hovers.append(_hover(shown, "error", known))
    return _text([(_Y, -0.55), (_L, -0.5)], words, hovers, name="target and error")


def _hover(trace: Pass, name: str, known: set[str]) -> str:
    return trace.numbers[name].text if name in known else f"{name}: not known yet"


@figure
def updates_loss(losses: Sequence[float]) -> Spec:
    """The loss before each update and after the last.

    Args:
        losses: `(updates + 1,)`.
    """
    values = np.asarray(losses, np.float64)
    count = len(values)
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "loss",
            "x": np.arange(count),
            "y": values,
            "line": {"color": theme.TRAINING, "width": 2},
            "marker": {"color": theme.TRAINING, "size": 6},
            "hovertemplate": "after %{x} updates: loss %{y:.5g}<extra></extra>",
        }
    ]
    layout = theme.layout("The loss after each update", legend=False, height=260)
    layout["xaxis"] = axis("updates", [-0.3, max(10, 5 * -(-(count - 1) // 5)) + 0.3])
    layout["yaxis"] = axis("loss", limits(np.zeros(1), values * 1.03))
    return {"data": data, "layout": layout}
