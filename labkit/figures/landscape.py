"""Loss surfaces of networks: a plane with contours and a path, and a straight line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, log_axis
from labkit.figures.base import Spec, decades, extent, figure, finite, positive, thin

if TYPE_CHECKING:
    from labkit.analysis.landscape import Landscape, Line

Dict = dict[str, Any]

BANDS = 14  # about how many from the lowest loss to the highest
_LOWEST = 1e-6  # of the highest loss: smaller losses are drawn as this
# Opaque, since a colour bar is drawn without opacity.
_GROUND = [[0.0, "#F4F6F8"], [0.5, "#B4BFC9"], [1.0, "#5F6E7C"]]


@figure
def landscape_map(
    landscape: Landscape, *, span: tuple[float, float] | None = None, height: int = 430
) -> Spec:
    """A loss surface seen from above: contours evenly spaced in the logarithm of the loss.

    The paler the ground, the lower the loss. A run's path, if there is one, leads from a
    circle to a diamond; without one a diamond marks the weights in the middle.

    Args:
        landscape: from `labkit.landscape.around` or `trajectory`.
        span: the lowest and the highest loss of the colours, to compare several surfaces;
            by default the surface's own.
        height: in pixels.
    """
    loss = positive(landscape.loss)
    low, high = span or extent(loss) or (0.1, 1.0)
    low = max(low, _LOWEST * high)
    size = _band(math.log10(high / low) or 1.0)
    start = math.floor(math.log10(low) / size + 1e-9) * size
    end = math.ceil(math.log10(high) / size - 1e-9) * size
    ground = np.log10(np.clip(loss, 10.0**start, 10.0**end))
    ticks = _ticks(start, end)
    data: list[Dict] = [
        {
            "type": "contour",
            "x": landscape.alpha,
            "y": landscape.beta,
            "z": ground.astype(np.float32),
            "zmin": start,
            "zmax": end,
            "contours": {"start": start, "end": end, "size": size, "coloring": "fill"},
            "line": {"width": 0.7, "color": theme.LINE, "smoothing": 0.6},
            "colorscale": _GROUND,
            "colorbar": {
                "title": {"text": "loss", "side": "right"},
                "tickvals": [math.log10(value) for value in ticks],
                "ticktext": [f"{value:g}" for value in ticks],
                "thickness": 12,
                "outlinewidth": 0,
            },
            "customdata": loss.astype(np.float32),
            "hovertemplate": "(%{x:.3g}, %{y:.3g})<br>loss %{customdata:.4g}<extra></extra>",
        }
    ]
    if landscape.path is not None:
        data += _path(landscape)
        words = [
            f"along component {k + 1} ({share:.1%} of the variance)"
            for k, share in enumerate(landscape.explained or (math.nan, math.nan))
        ]
    else:
        data.append(_mark("the weights", [0.0], [0.0], "diamond"))
        words = [f"along random direction {k} (1: as long as the weights)" for k in (1, 2)]
    layout = theme.layout("Loss surface around a network's weights", height=height)
    layout["xaxis"] = axis(words[0], _ends(landscape.alpha), showgrid=False)
    layout["yaxis"] = axis(words[1], _ends(landscape.beta), showgrid=False)
    return {"data": data, "layout": layout}


def _ends(along: np.ndarray) -> list[float]:
    return [float(along[0]), float(along[-1])]


def _band(decades_shown: float) -> float:
    """The height of a band in decades: a fraction of one that gives about `BANDS` bands."""
    return max(
        (1 / k for k in (1, 2, 3, 4, 5, 10, 20, 50)), key=lambda size: _near(decades_shown / size)
    )


def _near(bands: float) -> float:
    return -abs(math.log(bands / BANDS))


def _ticks(start: float, end: float) -> list[float]:
    """Round losses for the colour bar: at most about eight."""
    span = end - start
    factors: tuple[float, ...] = (1, 1.5, 2, 3, 5, 7) if span <= 1 else (1, 2, 5)
    factors = (1,) if span > 4 else (1, 3) if span > 2 else factors
    powers = range(math.floor(start), math.ceil(end) + 1)
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    shown = [v for v in values if start - 1e-9 <= math.log10(v) <= end + 1e-9]
    return shown or [float(f"{10.0**start:.3g}"), float(f"{10.0**end:.3g}")]


def _path(landscape: Landscape) -> list[Dict]:
    path = landscape.path
    assert path is not None
    index = thin(len(path.steps))
    x, y = path.alpha[index], path.beta[index]
    line: Dict = {"type": "scatter", "x": x, "y": y}
    casing = {"color": theme.OUTLINE, "width": 5}
    return [
        {**line, "mode": "lines", "line": casing, "showlegend": False, "hoverinfo": "skip"},
        {
            **line,
            "mode": "lines+markers",
            "name": "path of the run",
            "line": {"color": theme.VERMILLION, "width": 2},
            "marker": {"color": theme.VERMILLION, "size": 4},
            "customdata": np.stack([path.steps[index], path.loss[index]], axis=1),
            "hovertemplate": "step %{customdata[0]}<br>loss %{customdata[1]:.4g}<extra></extra>",
        },
        _mark(f"start (step {path.steps[0]})", x[:1], y[:1], "circle"),
        _mark(f"end (step {path.steps[-1]})", x[-1:], y[-1:], "diamond"),
    ]


def _mark(name: str, x: Any, y: Any, symbol: str) -> Dict:
    line = {"color": theme.OUTLINE, "width": 1.5}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "marker": {"symbol": symbol, "size": 12, "color": theme.VERMILLION, "line": line},
        "hovertemplate": f"{name}<extra></extra>",
    }


@figure
def landscape_line(line: Line, *, names: tuple[str, str] = ("a", "b"), height: int = 380) -> Spec:
    """Loss on the straight line between two sets of weights and, for classes, accuracy below.

    Args:
        line: from `labkit.landscape.between`.
        names: of the two ends.
        height: in pixels.
    """
    classified = line.train_accuracy is not None
    data: list[Dict] = []
    for words, short, color in (
        ("training set", "train", theme.TRAINING),
        ("validation set", "val", theme.VALIDATION),
    ):
        stroke = {"color": color, "width": 2}
        common: Dict = {"type": "scatter", "mode": "lines", "name": words, "x": line.place}
        common |= {"line": stroke, "legendgroup": words}
        loss = positive(getattr(line, f"{short}_loss"))
        hover = f"{words}<br>at %{{x:.3g}}: %{{y:.5g}}<extra></extra>"
        data.append({**common, "y": loss, "hovertemplate": hover})
        if classified:
            accuracy = finite(getattr(line, f"{short}_accuracy"))
            hover = f"{words}<br>at %{{x:.3g}}: %{{y:.2%}}<extra></extra>"
            below = {"yaxis": "y2", "showlegend": False, "hovertemplate": hover}
            data.append({**common, "y": accuracy, **below})
    losses = positive(np.concatenate([line.train_loss, line.val_loss]))
    layout = theme.layout("Loss between two sets of weights", height=height)
    unit = "loss (nats)" if classified else "loss (squared error)"
    layout["yaxis"] = log_axis(unit, decades(losses), domain=[0.44, 1] if classified else [0, 1])
    layout["xaxis"] = axis(
        "place on the straight line between the two",
        _ends(line.place),
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=[names[0], "¼", "½", "¾", names[1]],
        anchor="y2" if classified else "y",
    )
    if classified:
        layout["yaxis2"] = axis(
            "accuracy", [0, 1.03], domain=[0, 0.34], tickvals=[0, 0.5, 1], tickformat=".0%"
        )
    stroke = {"color": theme.TEXT, "width": 1, "dash": "dot"}
    layout["shapes"] = [
        {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": stroke}
        for x in (0, 1)
    ]
    return {"data": data, "layout": layout}
