"""Walks over a toy surface: the map with its paths, the losses, the optimizer's state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, decades, extent, figure, finite, limits, positive, thin

if TYPE_CHECKING:
    from labkit.toys.trajectories import Walk

BANDS = 14  # shades between the lowest ground and the highest
STEP = "step"
ALONG, ACROSS = theme.PURPLE, "#8A6D3B"  # colours of the two weights

# One mid-tone that reads on light and dark pages, more opaque on higher ground. A band ends
# where the next begins, so that its edge is a contour line.
_SHADES = [0.03 + 0.57 * k / (BANDS - 1) for k in range(BANDS)]
GROUND = [
    [(k + end) / BANDS, theme.rgba("#7A8794", shade)]
    for k, shade in enumerate(_SHADES)
    for end in (0, 1)
]

USUAL = {
    "sgd": theme.BLUE,
    "momentum": theme.VERMILLION,
    "adam": theme.GREEN,
    "rmsprop": theme.PURPLE,
}

# What the state is called, by torch's name for it.
MEANS = {"momentum_buffer": "velocity", "exp_avg": "mean m"}
ROOTS = {"exp_avg_sq": "√v", "exp_inf": "largest |g|", "sum": "√Σg²", "square_avg": "√E[g²]"}


@figure
def surface_map(
    x: np.ndarray,
    y: np.ndarray,
    losses: np.ndarray,
    walks: Mapping[str, Walk],
    *,
    minima: Sequence[tuple[float, float]] = (),
    saddles: Sequence[tuple[float, float]] = (),
    step: int | None = None,
    height: int = 430,
) -> Spec:
    """A surface seen from above, and the paths that optimizers took over it.

    Low ground is pale; each band's edge is a contour line, and the bands are
    evenly spaced in the *logarithm* of the loss, so that a valley's floor has some too.

    Args:
        x, y: positions of the two weights, `(n,)` and `(m,)`.
        losses: the loss at each pair, `(m, n)`, rows by y.
        walks: by the names to show; see `walk_colors`.
        minima, saddles: positions to mark.
        step: the step up to which walks are drawn; by default to their ends.
        height: in pixels.
    """
    floor = max(float(np.quantile(losses, 0.01)), 1e-9 * float(losses.max()), 1e-300)
    ground = np.log10(np.maximum(losses, floor)).astype(np.float32)
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "x": x,
            "y": y,
            "z": ground,
            "zmin": float(ground.min()),
            "zmax": float(ground.max()),
            "zsmooth": "best",
            "colorscale": GROUND,
            "showscale": False,
            "customdata": losses.astype(np.float32),
            "hovertemplate": "x %{x:.2f}<br>y %{y:.2f}<br>loss %{customdata:.4g}<extra></extra>",
        },
        _marks("minimum", minima, "diamond", theme.INK),
        _marks("saddle point", saddles, "square", theme.INK),
    ]
    colors = walk_colors(walks)
    for name, walk in walks.items():
        data += _path(name, walk, step, colors[name])
    starts = {tuple(walk.path[0]) for walk in walks.values()}
    data.append(_marks("start", sorted(starts), "circle", theme.NONE, line=theme.INK))
    layout = theme.layout("Paths of optimizers over a loss surface", height=height)
    layout["margin"] = {**theme.MARGIN, "t": 56}
    layout["xaxis"] = axis("weight x", [x[0], x[-1]], constrain="domain", showgrid=False)
    layout["yaxis"] = axis(
        "weight y", [y[0], y[-1]], scaleanchor="x", constrain="domain", showgrid=False
    )
    return {"data": data, "layout": layout}


def _marks(
    name: str, points: Sequence[Any], symbol: str, color: str, *, line: str = theme.OUTLINE
) -> dict[str, Any]:
    places = np.array(points, np.float64).reshape(-1, 2)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": places[:, 0],
        "y": places[:, 1],
        "marker": {
            "symbol": symbol,
            "size": 11,
            "color": color,
            "line": {"color": line, "width": 2},
        },
        "visible": len(places) > 0,
        "hovertemplate": f"{name}<br>x %{{x:.3f}}<br>y %{{y:.3f}}<extra></extra>",
    }


def _path(name: str, walk: Walk, step: int | None, color: str) -> list[dict[str, Any]]:
    """A pale casing that lifts the path off the ground, its line with a dot at each step,
    and a large dot at its end.
    """
    end = len(walk.path) - 1 if step is None else min(step, len(walk.path) - 1)
    path = walk.path[: end + 1]
    index = thin(len(path))
    x, y = path[index, 0], path[index, 1]
    line = {"type": "scatter", "x": x, "y": y, "legendgroup": name}
    hover = f"{name}, step %{{customdata}}<br>x %{{x:.3f}}<br>y %{{y:.3f}}<extra></extra>"
    return [
        {
            **line,
            "mode": "lines",
            "line": {"color": theme.OUTLINE, "width": 5},
            "showlegend": False,
            "hoverinfo": "skip",
        },
        {
            **line,
            "mode": "lines+markers",
            "line": {"color": color, "width": 2},
            "marker": {"color": color, "size": 4},
            "name": name + (" (diverged)" if walk.diverged is not None else ""),
            "customdata": index,
            "hovertemplate": hover,
        },
        {
            **line,
            "x": path[-1:, 0],
            "y": path[-1:, 1],
            "mode": "markers",
            "marker": {"color": color, "size": 12, "line": {"color": theme.OUTLINE, "width": 2}},
            "showlegend": False,
            "customdata": np.array([end]),
            "hovertemplate": hover,
        },
    ]


@figure
def walk_losses(walks: Mapping[str, Walk], *, step: int | None = None, height: int = 300) -> Spec:
    """The loss at each step of each walk, on a log axis.

    Args:
        walks: by the names to show, coloured as on the map.
        step: where to draw a line, at the step that the map shows.
        height: in pixels.
    """
    end = max((walk.steps for walk in walks.values()), default=1)
    highest = max((float(walk.losses[0]) for walk in walks.values()), default=1.0)
    data: list[dict[str, Any]] = []
    kept = []
    colors = walk_colors(walks)
    for name, walk in walks.items():
        index = thin(len(walk.losses))
        # Below a billionth a walk has converged: an axis down to 1e-200 would show nothing.
        y = np.maximum(walk.losses[index], 1e-9 * highest)
        kept.append(y)
        note = " (diverged)" if walk.diverged is not None else ""
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name + note,
                "x": index,
                "y": positive(y),
                "line": {"color": colors[name], "width": 2},
                "hovertemplate": f"{name}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
            }
        )
    span = decades(*kept)
    data.append(_now(step, end, [10.0 ** span[0], 10.0 ** span[1]]))
    layout = theme.layout("Loss of each walk", height=height)
    layout["xaxis"] = axis(STEP, [0, end])
    layout["yaxis"] = log_axis("loss", span)
    return {"data": data, "layout": layout}


@figure
def walk_state(walk: Walk, *, step: int | None = None, height: int = 480) -> Spec:
    """The state of an optimizer during a walk, for each of the two weights.

    A row for each weight: the gradient (thin), its running mean or velocity (bold), and the
    root of its running square (dotted). Below: what each coordinate of the gradient, or of
    its mean, is multiplied by; for methods without such a factor, the steps taken.

    Args:
        walk: one walk.
        step: where to draw the line that says how far the map shows the walk.
        height: in pixels.
    """
    index = thin(len(walk.path))
    end = max(1, walk.steps)
    taken = np.vstack([np.full((1, 2), np.nan), np.diff(walk.path, axis=0)])
    factor = walk.state.get("effective_lr")
    state = [
        (next(words for key, words in names.items() if key in walk.state), walk.state[name], style)
        for name, names, style in (
            ("mean", MEANS, {"width": 3}),
            ("root", ROOTS, {"width": 2, "dash": "dot"}),
        )
        if name in walk.state
    ]
    data: list[dict[str, Any]] = []
    layout = theme.layout(f"State of {walk.optimizer}", height=height)
    # A row for each weight, since their slopes may differ a hundredfold, and one for both.
    rows = {"yaxis": [0.7, 1], "yaxis2": [0.36, 0.66], "yaxis3": [0, 0.28]}
    for k, (letter, color) in enumerate((("x", ALONG), ("y", ACROSS))):
        row = f"yaxis{k + 1}" if k else "yaxis"
        above = [_line("gradient", index, walk.gradients[index, k], color, 1)]
        for words, values, style in state:
            above.append(_line(words, index, values[index, k], color, **style))
        for line in above:
            line["name"] += f" {letter}"
            data.append(line | {"yaxis": row.replace("axis", "")})
        span = limits(np.zeros(1), *(line["y"] for line in above))
        layout[row] = axis(f"weight {letter}", span, domain=rows[row], zeroline=True, nticks=4)
        name, below = ("factor", factor) if factor is not None else ("step", taken)
        line = _line(f"{name} {letter}", index, below[index, k], color, 2.5)
        data.append(line | {"yaxis": "y3", "showlegend": False})
    layout["margin"] = {**theme.MARGIN, "t": 60}
    if factor is not None:
        layout["yaxis3"] = log_axis("factor on each", _room(factor), domain=rows["yaxis3"])
    else:
        layout["yaxis3"] = axis("step taken", limits(taken), domain=rows["yaxis3"], zeroline=True)
    layout["xaxis"] = axis(STEP, [0, end], anchor="y3")
    for name in rows:
        low, high = layout[name]["range"]
        span = [10.0**low, 10.0**high] if layout[name].get("type") == "log" else [low, high]
        data.append(_now(step, end, span) | {"yaxis": name.replace("axis", "")})
    return {"data": data, "layout": layout}


def walk_colors(walks: Mapping[str, Walk]) -> dict[str, str]:
    """A colour for each walk: where possible, an optimizer has the same one in all figures."""
    colors: dict[str, str] = {}
    for name, walk in walks.items():
        usual = USUAL.get(walk.optimizer)
        if usual is None or usual in colors.values():
            free = [c for c in theme.CATEGORIES if c not in (*colors.values(), *USUAL.values())]
            rest = [c for c in theme.CATEGORIES if c not in colors.values()]
            usual = next(iter([*free, *rest]), theme.INK)
        colors[name] = usual
    return colors


def _now(step: int | None, end: int, span: Sequence[float]) -> dict[str, Any]:
    """A line across the plot at the current step. (A shape would not stream.)"""
    at = end if step is None else min(step, end)
    line = _line("now", np.array([at, at]), np.array(span), theme.LINE, 1)
    return line | {"showlegend": False, "hoverinfo": "skip", "visible": step is not None}


def _room(factor: np.ndarray) -> list[float]:
    """Log limits around the factors: where they hardly move, half a decade to each side."""
    low, high = extent(factor[factor > 0]) or (0.1, 1.0)
    middle = (math.log10(low) + math.log10(high)) / 2
    half = max(0.55 * math.log10(high / low), 0.5)
    return [middle - half, middle + half]


def _line(
    name: str, x: np.ndarray, y: np.ndarray, color: str, width: float, dash: str = "solid"
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": finite(y),
        "line": {"color": color, "width": width, "dash": dash},
        "hovertemplate": f"{name}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
    }
