"""One look for all figures: colours, fonts and margins that read on white and on #111111.

Colours of categories are Okabe & Ito's (Color Universal Design, 2008). A sign has the same
colour everywhere, as in TensorFlow Playground: blue is positive, orange is negative, and
what is near zero fades into the page, whichever colour the page has.

Text and grid colours live in a plotly *template*: the live widget lays the notebook's own
theme over it, and static figures use mid-tones that read on both backgrounds.
"""

from __future__ import annotations

from typing import Any

TEXT = "#797979"
GRID = "rgba(128,128,128,0.22)"
LINE = "rgba(128,128,128,0.55)"
NONE = "rgba(0,0,0,0)"
INK = "#797979"
OUTLINE = "rgba(255,255,255,0.9)"

BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
ORANGE = "#E69F00"
YELLOW = "#F0E442"

# The first four keep a contrast of 3 with both backgrounds; lines use them first.
CATEGORIES = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, "#8A6D3B", YELLOW)

POSITIVE = "#2A85C7"
NEGATIVE = "#E0700F"
TRAINING = BLUE
VALIDATION = VERMILLION
WARNING = VERMILLION


def rgba(color: str, alpha: float) -> str:
    """A `#rrggbb` colour with an opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


# Opacity, not lightness, carries the magnitude: it reads the same way on any page.
DIVERGING = [
    [0.0, rgba(NEGATIVE, 1)],
    [0.25, rgba(NEGATIVE, 0.6)],
    [0.5, rgba("#808080", 0.08)],
    [0.75, rgba(POSITIVE, 0.6)],
    [1.0, rgba(POSITIVE, 1)],
]
SEQUENTIAL = [
    [0.0, rgba(POSITIVE, 0)],
    [0.02, rgba(POSITIVE, 0.15)],
    [0.5, rgba(POSITIVE, 0.75)],
    [1.0, rgba(POSITIVE, 1)],
]

_AXIS = {
    "gridcolor": GRID,
    "linecolor": LINE,
    "tickcolor": LINE,
    "zerolinecolor": LINE,
    "zerolinewidth": 1,
    "gridwidth": 1,
    "ticks": "outside",
    "ticklen": 5,
    "title": {"font": {"size": 12}},
}
TEMPLATE: dict[str, Any] = {
    "layout": {
        "font": {"color": TEXT, "size": 12, "family": "system-ui, sans-serif"},
        "title": {"font": {"size": 14}, "x": 0.02, "y": 0.98, "yanchor": "top", "pad": {"t": 6}},
        "paper_bgcolor": NONE,
        "plot_bgcolor": NONE,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"bgcolor": NONE},
        "hoverlabel": {"font": {"size": 12}},
    }
}

HEIGHT = 340
MARGIN = {"l": 74, "r": 26, "t": 36, "b": 46}
LEGEND = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1.02,
    "yanchor": "bottom",
    "itemwidth": 30,
    "tracegroupgap": 0,
    "font": {"size": 12},
}


def layout(label: str, *, height: int = HEIGHT, legend: bool = True, **more: Any) -> dict[str, Any]:
    """The layout all figures start from; `label` describes the figure to a screen reader."""
    margin = MARGIN if legend else {**MARGIN, "t": 14}
    return {
        "template": TEMPLATE,
        "height": height,
        "margin": margin,
        "showlegend": legend,
        "legend": LEGEND,
        "hovermode": "closest",
        "uirevision": "labkit",
        "meta": {"label": label},
        **more,
    }


def depth(count: int) -> list[str]:
    """`count` colours in order, for layers from first to last: blue, purple, vermillion."""
    stops = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (BLUE, "#B0609E", VERMILLION)]
    colors = []
    for k in range(count):
        place = 2 * k / (count - 1) if count > 1 else 0.0
        low = min(int(place), 1)
        part = place - low
        mixed = [round(a + (b - a) * part) for a, b in zip(stops[low], stops[low + 1], strict=True)]
        colors.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return colors
