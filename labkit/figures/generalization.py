"""Runs on good and bad data compared: boundaries, metrics against a field, classes, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import STEP, axis, log_axis
from labkit.figures.base import Spec, figure, finite, limits, nice, positive
from labkit.figures.predictions import decision_boundary
from labkit.figures.weights import histograms

if TYPE_CHECKING:
    from labkit.analysis.generalization import Memorization
    from labkit.recipe.tasks import Data
    from labkit.training.predict import ProbabilityMap

Dict = dict[str, Any]

_GAP = 0.05  # between plots, as a share of the width
_FEW = 60  # the most training samples that leave room for large dots
_BINS = 40
_NONE = 0.1  # where a log axis draws a count of zero: below its lower end


@figure
def boundaries(
    predicted: Mapping[str, ProbabilityMap],
    samples: Mapping[str, Data],
    *,
    validation: bool = False,
    height: int = 410,
) -> Spec:
    """Decision boundaries side by side, each with the samples of its training set.

    A ring marks a training sample with a wrong label.

    Args:
        predicted: what each network predicts over the plane.
        samples: the data of each, by the same names.
        validation: whether validation samples are drawn too, as small diamonds.
        height: in pixels.
    """
    data: list[Dict] = []
    layout = theme.layout("Decision boundaries side by side", height=height)
    layout["margin"] = {**theme.MARGIN, "l": 56, "t": 76}
    layout["legend"] = {**theme.LEGEND, "y": 1.145}
    notes: list[Dict] = []
    count = len(predicted)
    wide = (1 - _GAP * (count - 1)) / count
    for number, (name, one) in enumerate(predicted.items()):
        suffix = "" if number == 0 else str(number + 1)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        single = decision_boundary.spec(one, samples[name])
        background, *dots = single["data"]
        classes = len(one.probabilities)
        dot = 9 if len(samples[name].train_inputs) <= _FEW else 6
        data.append({**background, **axes})
        if validation:
            data += [
                {**trace, **axes, "showlegend": number == 0 and k == 0, "legendgroup": "validation"}
                | {
                    "marker": {**trace["marker"], "size": 5, "line": {"width": 0}},
                    "legendrank": 2000,
                }
                for k, trace in enumerate(dots[classes:])
            ]
        data += [
            {**trace, **axes, "showlegend": number == 0, "legendgroup": trace["name"]}
            | {"marker": {**trace["marker"], "size": dot}}
            for trace in dots[:classes]
        ]
        data.append({**_rings(samples[name]), **axes, "legendgroup": "wrong label"})
        start = number * (wide + _GAP)
        low, high = float(one.x[0]), float(one.x[-1])
        square: Dict = {"constrain": "domain", "showgrid": False}
        layout[f"xaxis{suffix}"] = axis(
            "input 1 (no unit)", [low, high], domain=[start, start + wide], anchor=axes["yaxis"],
            **square,
        )  # fmt: skip
        layout[f"yaxis{suffix}"] = axis(
            "input 2 (no unit)" if number == 0 else "", [low, high], anchor=axes["xaxis"],
            scaleanchor=axes["xaxis"], showticklabels=number == 0, **square,
        )  # fmt: skip
        notes.append(
            {
                "text": name.replace(": ", "<br>", 1),
                "x": start + wide / 2,
                "y": 1.005,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12},
            }
        )
    if any(len(trace["x"]) for trace in data if trace.get("name") == "wrong label"):
        first = next(t for t in data if t.get("name") == "wrong label" and len(t["x"]))
        first["showlegend"] = True
    layout["annotations"] = notes
    return {"data": data, "layout": layout}


def _rings(samples: Data) -> Dict:
    points = np.asarray(samples.train_inputs)[np.asarray(samples.mislabelled)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "wrong label",
        "x": points[:, 0],
        "y": points[:, 1],
        "showlegend": False,
        "marker": {
            "symbol": "circle-open",
            "size": 11,
            "color": theme.PURPLE,
            "line": {"width": 2, "color": theme.PURPLE},
        },
        "hovertemplate": "wrong label<extra></extra>",
    }


@figure
def sweep_lines(
    x: Sequence[float],
    lines: Mapping[str, np.ndarray],
    *,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    percent: bool = False,
    height: int = 320,
) -> Spec:
    """Metrics of many runs against one field of the recipe: the mean as a line, a dot per run.

    Args:
        x: the field's values.
        lines: by name, `(values,)`, or `(values, repeats)` of runs that differ in a seed.
        x_title, y_title: of the axes, with units.
        log_x: a logarithmic x axis. If a value of x is 0 or less, the values are evenly
            spaced instead, each with its label.
        percent: whether y values are shares.
        height: in pixels.
    """
    values = [float(value) for value in x]
    named = log_x and min(values) <= 0
    places = np.arange(len(values), dtype=np.float64) if named else np.array(values)
    data: list[Dict] = []
    shown = []
    colors = (theme.TRAINING, theme.VALIDATION, *theme.CATEGORIES[2:])
    for (name, found), color in zip(lines.items(), colors, strict=False):
        rows = finite(np.asarray(found, np.float64)).reshape(len(values), -1)
        shown.append(rows)
        known = np.isfinite(rows)
        total = np.where(known, rows, 0).sum(axis=1)
        mean = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
        number = "%{y:.1%}" if percent else "%{y:.4g}"
        common: Dict = {"type": "scatter", "legendgroup": name, "name": name}
        data.append(
            {
                **common,
                "mode": "lines+markers",
                "x": places,
                "y": mean,
                "line": {"color": color, "width": 2},
                "marker": {"color": color, "size": 7},
                "hovertemplate": f"{name}<br>{number}<extra></extra>",
            }
        )
        data.append(
            {
                **common,
                "mode": "markers",
                "x": np.repeat(places, rows.shape[1]),
                "y": rows.ravel(),
                "visible": rows.shape[1] > 1,
                "showlegend": False,
                "marker": {"color": theme.rgba(color, 0.45), "size": 5},
                "hovertemplate": f"{name}, one run<br>{number}<extra></extra>",
            }
        )
    layout = theme.layout(f"{y_title} against {x_title}", height=height)
    layout["xaxis"] = _across(places, values, x_title, log_x, named)
    everything = np.concatenate([rows.ravel() for rows in shown])
    if percent:
        span = limits(everything, np.ones(1))
        span = [max(0.0, span[0]), 1.02]
        layout["yaxis"] = axis(y_title, span, tickformat=".0%")
    else:
        layout["yaxis"] = axis(y_title, limits(np.zeros(1), 1.03 * everything))
    return {"data": data, "layout": layout}


def _across(places: np.ndarray, values: list[float], title: str, log: bool, named: bool) -> Dict:
    labels = [f"{value:g}" for value in values]
    if log and not named:
        ends = np.log10([places.min(), places.max()])
        room = 0.05 * (ends[1] - ends[0]) or 0.5
        span = [float(ends[0] - room), float(ends[1] + room)]
        return axis(title, span, type="log", tickvals=places, ticktext=labels)
    room = 0.05 * (places.max() - places.min()) or 0.5
    span = [float(places.min() - room), float(places.max() + room)]
    return axis(title, span, tickvals=places, ticktext=labels)


@figure
def memorization_curves(found: Memorization, *, height: int = 320) -> Spec:
    """Accuracy on training samples with correct and with wrong labels, over the steps."""
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": positive(found.steps),  # step 0 has no place on a log axis
            "y": values,
            "line": {"color": color, "width": 2.5, "dash": dash},
            "hovertemplate": f"{name}<br>step %{{x}}: %{{y:.1%}}<extra></extra>",
        }
        for name, values, color, dash in (
            ("correct labels, learnt", found.right, theme.TRAINING, "solid"),
            ("wrong labels, memorized", found.wrong, theme.PURPLE, "solid"),
            ("validation, correct", found.val, theme.VALIDATION, "dash"),
        )
    ]
    layout = theme.layout("What is learnt and what is memorized", height=height)
    layout["xaxis"] = log_axis(STEP, [0, math.log10(max(10, int(found.steps[-1])))])
    layout["yaxis"] = axis("share of the samples", [0, 1.03], tickformat=".0%")
    return {"data": data, "layout": layout}


@figure
def class_accuracy(shares: Mapping[str, np.ndarray], *, height: int = 320) -> Spec:
    """Validation accuracy of each class, a bar for each run.

    Args:
        shares: by the name of a run, `(classes,)`.
        height: in pixels.
    """
    classes = max((len(values) for values in shares.values()), default=0)
    labels = [f"class {k}" for k in range(classes)]
    data = [
        {
            "type": "bar",
            "name": name,
            "x": labels,
            "y": finite(np.asarray(values)),
            "marker": {"color": theme.CATEGORIES[number % len(theme.CATEGORIES)]},
            "hovertemplate": f"%{{x}}: %{{y:.1%}}<extra>{name}</extra>",
        }
        for number, (name, values) in enumerate(shares.items())
    ]
    layout = theme.layout("Accuracy of each class", height=height)
    layout["margin"] = {**theme.MARGIN, "t": 20 + 19 * max(1, len(shares))}
    layout["legend"] = {**theme.LEGEND, "orientation": "v"}
    layout |= {"barmode": "group", "bargap": 0.3}
    layout["xaxis"] = axis("true class of the validation samples", [-0.5, classes - 0.5])
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["yaxis"] = axis("accuracy", [0, 1.03], tickformat=".0%")
    return {"data": data, "layout": layout}


@figure
def weight_outlines(weights: Mapping[str, np.ndarray], *, height: int = 320) -> Spec:
    """Histograms of the weights of several networks as outlines over one another.

    The axis of counts is logarithmic: few weights are large, and they must stay visible.

    Args:
        weights: by name, weights of any shape.
        height: in pixels.
    """
    flat = {name: finite(np.ravel(values)) for name, values in weights.items()}
    low, high = limits(*flat.values())
    edges = np.linspace(low, high, _BINS + 1)
    data: list[Dict] = []
    most = 1.0
    for number, (name, values) in enumerate(flat.items()):
        counts = histograms(values[None], low, high, _BINS)[0]
        most = max(most, float(counts.max()))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": edges,
                "y": np.maximum(np.append(counts, counts[-1]), _NONE),
                "line": {
                    "color": theme.CATEGORIES[number % len(theme.CATEGORIES)],
                    "width": 2,
                    "shape": "hv",
                },
                "customdata": np.append(counts, counts[-1]),
                "hovertemplate": f"%{{customdata}} weights from %{{x:.3g}}<extra>{name}</extra>",
            }
        )
    layout = theme.layout("Weights of several networks", height=height)
    layout["xaxis"] = axis("weight", [low, high])
    layout["yaxis"] = log_axis("number of weights", [math.log10(0.7), math.log10(nice(most))])
    return {"data": data, "layout": layout}
