"""Losses as curves: their value, their slope, and what an outlier does to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, nice_length
from labkit.figures.base import Spec, figure, limits

if TYPE_CHECKING:
    from labkit.toys.gradients.derivatives import DerivativeCheck

TANGENT = 0.9  # half the length of a tangent, in units of the output
Points = Mapping[str, tuple[float, float]]


@figure
def loss_values(
    output: np.ndarray,
    losses: Mapping[str, np.ndarray],
    *,
    target: float,
    at: float,
    points: Points,
    kind: str = "regression",
    colors: Mapping[str, str] | None = None,
) -> Spec:
    """Losses against the prediction, with a point on each and its tangent.

    Args:
        output: predictions, or logits for a classification, `(n,)`.
        losses: each loss's values `(n,)` by its name.
        target: the true value; in a classification 1 is yes and 0 is no.
        at: the prediction where the points lie.
        points: each loss's value and slope there.
        kind: regression or classification.
        colors: of each loss; by default the first of the palette.
    """
    colors = colors or _colors(losses)
    data = _curves(output, losses, colors, "loss")
    spots = []
    for name, (value, slope) in points.items():
        ends = np.array([at - TANGENT, at + TANGENT])
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name}, tangent",
                "showlegend": False,
                "x": ends,
                "y": value + slope * (ends - at),
                "line": {"color": colors[name], "width": 5},
                "opacity": 0.4,
                "hoverinfo": "skip",
            }
        )
        spots.append(_spot(name, at, value, f"loss {value:.4g}, slope {slope:+.4g}", colors))
    layout = theme.layout("Losses against the prediction")
    highest = max((value for value, _ in points.values()), default=0.0)
    top = nice_length(max(4.0, 1.1 * highest))
    layout["xaxis"] = _outputs(output, kind)
    layout["yaxis"] = axis("loss", [-0.06 * top, top])
    return {"data": data + spots, "layout": layout | _target(target, kind)}


@figure
def loss_slopes(
    output: np.ndarray,
    slopes: Mapping[str, np.ndarray],
    *,
    target: float,
    at: float,
    points: Points,
    kind: str = "regression",
    colors: Mapping[str, str] | None = None,
) -> Spec:
    """The losses' slopes against the prediction: the direction and strength of each pull.

    Args:
        output, target, at, points, kind, colors: as for `loss_values`.
        slopes: each loss's derivative by the prediction, `(n,)`, by its name.
    """
    colors = colors or _colors(slopes)
    data = _curves(output, slopes, colors, "slope")
    spots = [
        _spot(name, at, slope, f"slope {slope:+.4g}", colors) for name, (_, slope) in points.items()
    ]
    layout = theme.layout("Slopes of losses against the prediction")
    steepest = max((abs(slope) for _, slope in points.values()), default=0.0)
    top = nice_length(max(1.0 if kind == "classification" else 2.0, 1.1 * steepest))
    layout["xaxis"] = _outputs(output, kind)
    layout["yaxis"] = axis("slope of the loss", [-1.1 * top, 1.1 * top], zeroline=True)
    return {"data": data + spots, "layout": layout | _target(target, kind)}


@figure
def loss_walk(
    paths: Mapping[str, np.ndarray],
    *,
    target: float,
    kind: str = "regression",
    colors: Mapping[str, str] | None = None,
) -> Spec:
    """Where gradient descent takes one output, step by step, under each loss.

    Args:
        paths: the outputs `(steps + 1,)` by each loss's name.
        target, kind, colors: as for `loss_values`.
    """
    colors = colors or _colors(paths)
    steps = max((len(path) for path in paths.values()), default=2) - 1
    data = _curves(np.arange(steps + 1), paths, colors, "output")
    layout = theme.layout("Where gradient descent takes one output")
    layout["xaxis"] = axis("steps of gradient descent", [0, max(1, steps)])
    span = limits(*paths.values(), np.array([float(target)] if kind == "regression" else [0.0]))
    layout["yaxis"] = _outputs(np.array(span), kind, " = ")
    if kind == "regression":
        line = {"color": theme.TEXT, "width": 1, "dash": "dot"}
        ends = {"x0": 0, "x1": 1, "y0": target, "y1": target}
        layout["shapes"] = [{"type": "line", "xref": "paper", "yref": "y", "line": line, **ends}]
        note = {"x": 1, "xref": "paper", "y": target, "yref": "y", "text": "target"}
        note |= {"xanchor": "right", "yanchor": "bottom", "showarrow": False}
        layout["annotations"] = [note]
    else:
        layout["margin"] = {**theme.MARGIN, "l": 112}
    return {"data": data, "layout": layout}


def _colors(names: Any) -> dict[str, str]:
    palette = theme.CATEGORIES
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


def _curves(
    x: np.ndarray, curves: Mapping[str, np.ndarray], colors: Mapping[str, str], what: str
) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": y,
            "line": {"color": colors[name], "width": 2.5},
            "hovertemplate": f"{name}<br>at %{{x:.3g}}: {what} %{{y:.4g}}<extra></extra>",
        }
        for name, y in curves.items()
    ]


def _spot(name: str, x: float, y: float, words: str, colors: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name}, here",
        "showlegend": False,
        "x": np.array([x]),
        "y": np.array([y]),
        "marker": {"color": colors[name], "size": 11, "line": {"color": theme.OUTLINE, "width": 2}},
        "hovertemplate": f"{name}: {words}<extra></extra>",
    }


def _outputs(output: np.ndarray, kind: str, between: str = "<br>") -> dict[str, Any]:
    span = [float(output[0]), float(output[-1])]
    if kind == "regression":
        return axis("prediction", span)
    ticks = [z for z in (-8, -4, -2, 0, 2, 4, 8) if span[0] <= z <= span[1]]
    words = [f"{z:g}{between}{_percent(z)}" for z in ticks]
    return axis("logit, and the probability of yes", span, tickvals=ticks, ticktext=words)


def _percent(logit: float) -> str:
    share = 100 / (1 + np.exp(-logit))
    places = 0 if 5 < share < 95 else 1 if 0.5 < share < 99.5 else 2
    return f"{share:.{places}f} %"


def _target(target: float, kind: str) -> dict[str, Any]:
    """A line at the target, or its name where it is a yes or a no."""
    note: dict[str, Any] = {"xref": "x", "yref": "paper", "showarrow": False, "font": {"size": 12}}
    if kind == "classification":
        word = {0.0: "no", 1.0: "yes"}.get(float(target), f"{target:.0%} yes")
        note |= {"xref": "paper", "x": 0.5, "y": 1, "yanchor": "top", "text": f"target: {word}"}
        return {"annotations": [note], "margin": {**theme.MARGIN, "b": 62}}
    line = {"color": theme.TEXT, "width": 1, "dash": "dot"}
    ends = {"x0": target, "x1": target, "y0": 0, "y1": 1}
    note |= {"x": target, "y": 1, "yanchor": "top", "xanchor": "left", "text": " target"}
    shape = {"type": "line", "xref": "x", "yref": "paper", "line": line, **ends}
    return {"annotations": [note], "shapes": [shape]}


# --- an outlier ------------------------------------------------------------------------


@figure
def outlier_fit(
    values: np.ndarray,
    best: Mapping[str, float],
    *,
    span: tuple[float, float],
    unit: str = "",
    colors: Mapping[str, str] | None = None,
) -> Spec:
    """Guesses, the last of them far off, and the best single number by each loss.

    Args:
        values: the data, `(n,)`.
        best: the best constant by each loss's name.
        span: limits of the axis.
        unit: of the values.
        colors: of each loss.
    """
    colors = colors or _colors(best)
    rows = ["guesses", *best]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "showlegend": False,
            "x": x,
            "y": np.full(len(x), len(rows) - 1.0),
            "marker": {"color": color, "size": 11, "symbol": symbol, "opacity": 0.75},
            "hovertemplate": f"{name}: %{{x:.3g}} {unit}<extra></extra>",
        }
        for name, x, color, symbol in (
            ("guess", values[:-1], theme.INK, "circle"),
            ("the far guess", values[-1:], theme.PURPLE, "x"),
        )
    ]
    for i, (name, constant) in enumerate(best.items()):
        height = len(rows) - 2.0 - i
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "name": name,
                "showlegend": False,
                "x": np.array([constant, constant]),
                "y": np.array([height, len(rows) - 1.0]),
                "line": {"color": colors[name], "width": 1.5, "dash": "dot"},
                "marker": {
                    "color": colors[name],
                    "size": [14, 0],
                    "symbol": "diamond",
                    "opacity": 1,
                },
                "text": [f"  {constant:.2f} {unit}".rstrip(), ""],
                "textposition": "middle right",
                "textfont": {"size": 13},
                "hovertemplate": f"best by {name}: %{{x:.4f}} {unit}<extra></extra>",
            }
        )
    layout = theme.layout("The best single number by each loss", legend=False)
    layout["xaxis"] = axis(f"length ({unit})" if unit else "value", list(span))
    layout["yaxis"] = axis(
        "",
        [-0.6, len(rows) - 0.4],
        tickvals=np.arange(len(rows)),
        ticktext=[*reversed([f"best by<br>{name}" for name in best]), "guesses"],
        ticks="",
    )
    return {"data": data, "layout": layout}


@figure
def outlier_pull(
    outliers: np.ndarray,
    best: Mapping[str, np.ndarray],
    *,
    outlier: float,
    points: Mapping[str, float],
    unit: str = "",
    colors: Mapping[str, str] | None = None,
) -> Spec:
    """The best single number by each loss while the outlier moves away.

    Args:
        outliers: where the outlier is put, `(n,)`.
        best: the best constants `(n,)` by each loss's name.
        outlier: where it is now.
        points: the best constant now, by each loss's name.
        unit: of the values.
        colors: of each loss.
    """
    colors = colors or _colors(best)
    data = _curves(outliers, best, colors, "best")
    data += [_spot(name, outlier, y, f"{y:.4g} {unit}", colors) for name, y in points.items()]
    layout = theme.layout("The best single number while the outlier moves away")
    ending = f" ({unit})" if unit else ""
    layout["xaxis"] = axis(f"where the outlier is{ending}", [outliers[0], outliers[-1]])
    layout["yaxis"] = axis(f"best single number{ending}", limits(*best.values()))
    return {"data": data, "layout": layout}


@figure
def slope_check(check: DerivativeCheck) -> Spec:
    """A derivative written by hand over autograd's (`labkit.check_derivative`)."""
    output, expected, given = check.output, check.expected, check.given
    nothing = np.full(len(output), np.nan)
    mine = nothing if given is None else np.asarray(given, np.float64)
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"autograd: slope of {check.loss}",
            "x": output,
            "y": expected,
            "line": {"color": theme.GREEN, "width": 8},
            "opacity": 0.45,
            "hovertemplate": "autograd at %{x:.3g}: %{y:.4g}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "yours" if given is not None else "yours (nothing to draw)",
            "x": output,
            "y": mine,
            "line": {"color": theme.VERMILLION, "width": 1.5},
            "marker": {"color": theme.VERMILLION, "size": 4},
            "hovertemplate": "yours at %{x:.3g}: %{y:.4g}<extra></extra>",
        },
    ]
    layout = theme.layout(f"A derivative by hand beside autograd's slope of {check.loss}")
    layout["xaxis"] = _outputs(output, check.kind)
    shown = np.clip(mine, *(4 * np.array([-1, 1]) * max(1e-6, np.abs(expected).max())))
    layout["yaxis"] = axis("slope of the loss", limits(expected * 1.05, shown), zeroline=True)
    return {"data": data, "layout": layout | _target(check.target, check.kind)}
