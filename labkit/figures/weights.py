"""The weights of one tensor while they converge: lines, bands, histograms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis, events, horizon, step_axis
from labkit.figures.base import Spec, figure, finite, limits, nice

if TYPE_CHECKING:
    from labkit.training.history import History

LINE_POINTS = 200  # the most points of a line
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # the columns of `History.quantiles`
LINES = 48  # the most weights that are lines of their own; more are shown as quantile bands
BINS = 40
COLUMNS = 128  # the most columns of a histogram over time
SAMPLED = 4096  # of a larger tensor, the histogram over time counts evenly spaced weights


@figure
def weight_lines(history: History, tensor: str, *, steps: int | None = None) -> Spec:
    """Each weight of a tensor as a line over the steps; quantile bands when there are many.

    Lines have the colour of the unit that the weight leads to, in the weight as in the bias.
    Of more than `LINES` weights, it shows at each step the median, the bands that hold half
    and nine tenths of them, and the smallest and the largest.

    Raises:
        KeyError: no such tensor.
    """
    span = history.layout.span(tensor)
    count = span.stop - span.start
    draw = _each if count <= LINES else _bands
    end = horizon([history], steps)
    data, span_y = draw(history, tensor)
    layout = theme.layout(f"Weights of {tensor} while they converge", legend=count > LINES)
    layout["xaxis"] = step_axis(end)
    layout["yaxis"] = axis(f"{tensor} (weight)", span_y, zeroline=True)
    return {"data": data, "layout": layout | events([history], end, layout)}


def _each(history: History, tensor: str) -> tuple[list[dict[str, Any]], list[float]]:
    x, rows = history.snapshots(tensor, LINE_POINTS)
    values = finite(rows.T)
    names, units = _names(tensor, history.layout.shape(tensor))
    colors = (*theme.CATEGORIES[:7], theme.INK)
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": names[i],
            "x": x,
            "y": values[i],
            "line": {"color": colors[units[i] % len(colors)], "width": 1.5},
            "hovertemplate": f"{names[i]}<br>step %{{x}}: %{{y:.6g}}<extra></extra>",
        }
        for i in range(len(values))
    ]
    return data, limits(values)


def _names(tensor: str, shape: tuple[int, ...]) -> tuple[list[str], list[int]]:
    """The name of each weight, and the number of the unit it leads to."""
    places = list(np.ndindex(shape))
    units = [place[0] if place else 0 for place in places]
    if len(shape) == 2:
        return [f"{tensor}: {j} → {i}" for i, j in places], units
    return [f"{tensor}[{', '.join(map(str, place))}]" for place in places], units


_BANDS = (
    # name, hover text, opacity of the fill down to the curve before
    ("5 to 95 %", "5 % quantile", 0.0),
    ("5 to 95 %", "95 % quantile", 0.22),
    ("25 to 75 %", "25 % quantile", 0.0),
    ("25 to 75 %", "75 % quantile", 0.4),
    ("median", "median", 0.0),
    ("smallest and largest", "smallest", 0.0),
    ("smallest and largest", "largest", 0.0),
)
_PLACES = [QUANTILES.index(q) for q in (0.05, 0.95, 0.25, 0.75, 0.5)]


def _bands(history: History, tensor: str) -> tuple[list[dict[str, Any]], list[float]]:
    x, quantiles = history.quantiles(tensor, LINE_POINTS)
    curves = [*quantiles.T[_PLACES]]
    for name in ("min", "max"):
        steps, values = history.statistic(name, tensor)
        curves.append(values[np.searchsorted(steps, x)])
    data: list[dict[str, Any]] = []
    for (name, words, alpha), y in zip(_BANDS, curves, strict=True):
        line: dict[str, Any] = {"color": theme.POSITIVE, "width": 2 if name == "median" else 0}
        if name == "smallest and largest":
            line = {"color": theme.INK, "width": 1, "dash": "dot"}
        trace = {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "legendgroup": name,
            "showlegend": alpha > 0 or words in ("median", "smallest"),
            "x": x,
            "y": finite(y),
            "line": line,
            "hovertemplate": f"{words}<br>step %{{x}}: %{{y:.6g}}<extra></extra>",
        }
        if alpha:
            trace |= {"fill": "tonexty", "fillcolor": theme.rgba(theme.POSITIVE, alpha)}
        data.append(trace)
    return data, limits(data[-2]["y"], data[-1]["y"])


# --- histograms ---------------------------------------------------------------------------


# Columns counted before, by step, so that a frame counts only new ones: for each history and
# tensor, the limits they hold for and the counts.
_Counted = tuple[tuple[float, float], dict[int, np.ndarray]]
_counted: WeakKeyDictionary[History, dict[str, _Counted]] = WeakKeyDictionary()


def histograms(rows: np.ndarray, low: float, high: float, bins: int = BINS) -> np.ndarray:
    """Counts `(k, bins)` of each of `k` rows in equal bins from `low` to `high`.

    Numbers that are not finite are not counted; the last bin includes `high`.
    """
    rows = np.asarray(rows, np.float64)
    good = np.isfinite(rows) & (rows >= low) & (rows <= high)
    with np.errstate(invalid="ignore"):
        place = np.where(good, (rows - low) * (bins / (high - low)), 0)
    place = np.minimum(place.astype(np.intp), bins - 1)
    place += bins * np.arange(len(rows))[:, None]
    return np.bincount(place[good], minlength=bins * len(rows)).reshape(len(rows), bins)


@figure
def weight_histogram(history: History, tensor: str, *, steps: int | None = None) -> Spec:
    """Histogram over time: how many weights of a tensor have which value, at each step.

    Of a tensor of more than `SAMPLED` weights, evenly spaced ones are counted, and the
    axis says so.

    Raises:
        KeyError: no such tensor.
    """
    end = horizon([history], steps)
    low, high = limits(*(history.statistic(name, tensor)[1] for name in ("min", "max")))
    kept, rows = history.snapshots(tensor, COLUMNS)
    part = max(1, math.ceil(rows.shape[1] / SAMPLED))
    columns = _columns(history, tensor, kept, rows[:, ::part], (low, high))
    apart = kept[1] - kept[0] if len(kept) > 1 else 1
    x = np.append(kept, kept[-1:] + apart)  # a column begins at its step
    edges = np.linspace(low, high, BINS + 1)
    peaks = columns.max(axis=1)
    strongest = nice(max(1.0, 1.2 * float(np.median(peaks))))
    what = "weights" if part == 1 else f"weights<br>(1 in {part})"
    trace = {
        "type": "heatmap",
        "x": x,
        "y": edges,
        "z": np.ascontiguousarray(columns.T, np.float32),
        "zmin": 0,
        "zmax": strongest,
        "colorscale": theme.SEQUENTIAL,
        "colorbar": _bar(what),
        "hovertemplate": "from step %{x}, near %{y:.5g}: %{z:d} " + "weights<extra></extra>",
    }
    layout = theme.layout(f"Histogram of {tensor} over the steps", legend=False)
    layout["xaxis"] = step_axis(end)
    layout["yaxis"] = axis(f"{tensor} (weight)", [low, high])
    return {"data": [trace], "layout": layout}


def _bar(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "side": "right", "font": {"size": 12}},
        "thickness": 12,
        "outlinewidth": 0,
        "ticks": "",
    }


def _columns(
    history: History, tensor: str, steps: np.ndarray, rows: np.ndarray, span: tuple[float, float]
) -> np.ndarray:
    """Histograms `(k, BINS)` of `rows`, of which those counted before are remembered."""
    known = _counted.setdefault(history, {})
    last_span, last = known.get(tensor, (span, {}))
    old = last if last_span == span else {}
    wanted = steps.tolist()
    missing = [k for k, step in enumerate(wanted) if step not in old]
    new = dict(zip(steps[missing].tolist(), histograms(rows[missing], *span), strict=True))
    kept = {step: old[step] if step in old else new[step] for step in wanted}
    known[tensor] = span, kept
    return np.stack(list(kept.values()))


@figure
def weight_distribution(history: History, tensor: str, step: int | None = None) -> Spec:
    """Histogram of a tensor's weights now (or at the kept step nearest to `step`) and before
    training.

    Raises:
        KeyError: no such tensor.
    """
    now = history.weights(step)[tensor]
    before = history.weights(0)[tensor]
    label = "now" if step is None else f"about step {step}"
    # The limits of the whole run: they do not move back and forth with the weights.
    low, high = limits(*(history.statistic(name, tensor)[1] for name in ("min", "max")))
    return tensor_distribution.spec(now, before, name=tensor, label=label, span=(low, high))


@figure
def tensor_distribution(
    values: np.ndarray,
    before: np.ndarray | None = None,
    *,
    name: str = "",
    label: str = "now",
    earlier: str = "before training",
    span: tuple[float, float] | None = None,
    beyond: float = 0.0,
) -> Spec:
    """Histogram of any weights, with the outline of what they were before, if given.

    Args:
        values: weights of any shape.
        before: weights in the same unit, of any shape.
        name: of the weights, for the axis.
        label, earlier: the legend's names of `values` and for `before`.
        span: the axis' limits; by default they hold all finite weights.
        beyond: the share of the weights that may lie beyond the axis, where a few large ones
            would crowd all others into a few bars; the outermost bars count them.
    """
    values = np.ravel(values)
    old = np.empty(0) if before is None else np.ravel(before)
    low, high = span or limits(values, old)
    usual = _usual(values, old, beyond) if beyond else (low, high)
    crowded = usual[1] - usual[0] < 0.5 * (high - low)
    if crowded:
        low, high = usual
        values, old = (finite(each).clip(low, high) for each in (values, old))
    edges = np.linspace(low, high, BINS + 1)
    counts = histograms(values[None], low, high)[0]
    hover = f"%{{y:d}} weights within {(high - low) / BINS / 2:.3g} of %{{x:.5g}}"
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": label,
            "x": (edges[:-1] + edges[1:]) / 2,
            "y": counts,
            "width": (high - low) / BINS,
            "marker": {"color": theme.POSITIVE, "line": {"width": 0}},
            "hovertemplate": f"{hover}<extra>{label}</extra>",
        }
    ]
    most = counts.max()
    if before is not None:
        outline = histograms(old[None], low, high)[0]
        most = max(most, outline.max())
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": earlier,
                "x": edges,
                "y": np.append(outline, outline[-1]),
                "line": {"color": theme.NEGATIVE, "width": 2, "shape": "hv"},
                "hovertemplate": f"%{{y:d}} weights from %{{x:.5g}}<extra>{earlier}</extra>",
            }
        )
    layout = theme.layout(f"Histogram of {name or 'weights'}", legend=before is not None)
    layout |= {"bargap": 0}
    title = f"{name} (weight)" if name else "weight"
    title += "; the outermost bars count all that lies beyond" if crowded else ""
    layout["xaxis"] = axis(title, [low, high])
    layout["yaxis"] = axis("number of weights", [0, nice(max(1, 1.02 * most))])
    return {"data": data, "layout": layout}


def _usual(values: np.ndarray, before: np.ndarray, beyond: float) -> tuple[float, float]:
    """Rounded limits of all weights but a share."""
    good = [each[np.isfinite(each)] for each in (values, before)]
    ends = [np.quantile(each, [beyond / 2, 1 - beyond / 2]) for each in good if each.size]
    low, high = limits(*ends)
    return low, high
