"""Images with the boxes that a detector found on them, or that their labels hold."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.figures import theme
from labkit.figures.base import Spec, figure

if TYPE_CHECKING:
    from labkit.vision.detections import Detections

SIDE = 960  # pixels of the longer side at which an image travels to the page
BOXES = 100  # the most boxes on one image: those with the highest scores
LABELS = 20  # the most of them with a label
WIDE = 900  # pixels: about the width of a figure on a page
TITLE = 34  # pixels above the images
WORD = 18  # pixels, the height of a class and score
_DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True)
class Photo:
    """An image in the form that a page takes.

    Attributes:
        source: a data URI.
        width, height: of the image itself, in pixels: boxes are in this unit.
    """

    source: str
    width: int
    height: int


def photo(image: np.ndarray) -> Photo:
    """Prepare an image (H, W, 3) uint8 RGB, once for many figures of it."""
    from PIL import Image

    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return Photo(f"data:image/jpeg;base64,{text}", width, height)


@figure
def detections(
    shown: Mapping[str, tuple[np.ndarray | Photo, Detections]],
    *,
    confidence: float = 0.0,
    words: bool = True,
    height: int | None = None,
) -> Spec:
    """Images side by side, each with what was found on it.

    A class has the same colour (and dash) everywhere. Hovering over a box shows its class,
    score and size. Of more than `BOXES` boxes, those with the highest scores are drawn, and
    the title says so.

    Args:
        shown: title -> image (H, W, 3) uint8 RGB, or its `photo`, and what was found.
        confidence: detections with a lower score are left out.
        words: whether each box is labelled with class and score; if not, a legend names the
            classes.
        height: of the figure in pixels; by default images are as high as the widest page
            allows, and 560 at the most.
    """
    columns = max(1, len(shown))
    gap = 0.03 if columns > 1 else 0.0
    share = (1 - gap * (columns - 1)) / columns
    photos = [given if isinstance(given, Photo) else photo(given) for given, _ in shown.values()]
    if height is None:
        fits = [share * WIDE * one.height / one.width for one in photos]
        height = TITLE + 10 + round(min(560, max(fits, default=300)))
    layout = theme.layout("Detections on " + ", ".join(shown), height=height, legend=False)
    layout["margin"] = {"l": 4, "r": 4, "t": TITLE, "b": 6}
    layout["images"], layout["annotations"] = [], []
    data: list[dict[str, Any]] = []
    for k, (title, (_, found)) in enumerate(shown.items()):
        axes = _axes(k, photos[k], k * (share + gap), share, layout)
        kept = found.above(confidence)
        data += _traces(kept, axes)
        if words:
            room = WORD * photos[k].height / (height - TITLE - 6)
            layout["annotations"] += _words(kept, axes, photos[k].width, room)
        layout["annotations"].append(_title(_heading(title, kept), axes))
    if not words:
        _add_legend(data, layout)
    return {"data": data, "layout": layout}


def _add_legend(data: list[dict[str, Any]], layout: dict[str, Any]) -> None:
    """One entry for each class, above the titles."""
    seen: set[str] = set()
    for trace in data:
        name = trace.get("name", "")
        trace |= {"legendgroup": name, "showlegend": bool(name) and name not in seen}
        seen.add(name)
    room = 22
    layout["margin"] = {**layout["margin"], "t": TITLE + room}
    layout["height"] += room
    plot = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    layout["showlegend"] = True
    layout["legend"] = {**theme.LEGEND, "y": 1 + room / plot}


def _axes(k: int, one: Photo, start: float, share: float, layout: dict[str, Any]) -> dict[str, str]:
    """One image's axes in pixels of the image, downwards, and the image itself."""
    number = str(k + 1) if k else ""
    x, y = f"x{number}", f"y{number}"
    bare = {"visible": False, "showgrid": False, "zeroline": False, "constrain": "domain"}
    layout[f"xaxis{number}"] = {
        **bare,
        "range": [0, one.width],
        "domain": [start, min(1.0, start + share)],
        "anchor": y,
        "constraintoward": "left",
    }
    layout[f"yaxis{number}"] = {
        **bare,
        "range": [one.height, 0],
        "anchor": x,
        "scaleanchor": x,
        "constraintoward": "top",
    }
    layout["images"].append(
        {
            "source": one.source,
            "xref": x,
            "yref": y,
            "x": 0,
            "y": 0,
            "sizex": one.width,
            "sizey": one.height,
            "sizing": "stretch",
            "layer": "below",
        }
    )
    return {"xaxis": x, "yaxis": y}


def _traces(found: Detections, axes: dict[str, str]) -> list[dict[str, Any]]:
    """An outline per detection, so that hovering anywhere inside it shows what it is.

    The one with the highest score comes last: it lies on top. An empty trace keeps the axes
    of an image without detections.
    """
    drawn: list[dict[str, Any]] = []
    for i in reversed(range(min(len(found), BOXES))):
        color, dash = color_of(int(found.classes[i]))
        left, top, right, bottom = map(float, found.boxes[i])
        if found.outlines is not None and len(found.outlines[i]):
            x, y = np.vstack([found.outlines[i], found.outlines[i][:1]]).T
        else:
            x = np.array([left, right, right, left, left], np.float32)
            y = np.array([top, top, bottom, bottom, top], np.float32)
        drawn.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "line": {"color": color, "width": 2.5, "dash": dash},
                "fill": "toself",
                "fillcolor": theme.rgba(color, 0.08),
                "hoveron": "fills",
                "name": _name(found, i),
                "text": f"{_name(found, i)}<br>score {found.scores[i]:.3f}"
                f"<br>{right - left:.0f} × {bottom - top:.0f} pixels",
                "hoverinfo": "text",
                "hoverlabel": {"bgcolor": color, "font": {"color": _ink(color)}},
                **axes,
            }
        )
    if found.keypoints is not None and len(found.keypoints):
        seen = found.keypoints[..., 2] > 0.5
        marker = {"size": 6, "color": theme.YELLOW, "line": {"color": "#000000", "width": 1}}
        drawn.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": found.keypoints[..., 0][seen],
                "y": found.keypoints[..., 1][seen],
                "marker": marker,
                "hoverinfo": "skip",
                **axes,
            }
        )
    return drawn or [{"type": "scatter", "mode": "lines", "x": [], "y": [], **axes}]


def _words(
    found: Detections, axes: dict[str, str], width: int, room: float
) -> list[dict[str, Any]]:
    """Class and score at each box, within the image: on its left, or on its right; above it,
    or inside where there is no room above.
    """
    words = []
    for i in range(min(len(found), LABELS)):
        color, _ = color_of(int(found.classes[i]))
        left, top, right, _ = map(float, found.boxes[i])
        near_right = left > 0.75 * width
        words.append(
            {
                "xref": axes["xaxis"],
                "yref": axes["yaxis"],
                "x": min(right, width) if near_right else max(left, 0),
                "y": max(top, 0),
                "xanchor": "right" if near_right else "left",
                "yanchor": "bottom" if top > room else "top",
                "text": f"{_name(found, i)} {_percent(found.scores[i])}",
                "showarrow": False,
                "bgcolor": color,
                "borderpad": 1,
                "font": {"size": 11, "color": _ink(color)},
            }
        )
    return words[::-1]


def _percent(score: float) -> str:
    return f"{score:.0%}" if score >= 0.01 else f"{score:.2%}"


def _title(text: str, axes: dict[str, str]) -> dict[str, Any]:
    return {
        "xref": f"{axes['xaxis']} domain",
        "yref": "paper",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"size": 13},
    }


def _heading(title: str, found: Detections) -> str:
    count = len(found)
    if not count:
        return f"{title}: nothing found"
    most = f" ({BOXES} drawn)" if count > BOXES else ""
    labels = bool((found.scores == 1).all())  # a person drew them: no detector found them
    return f"{title}: {count}{'' if labels else ' found'}{most}"


def _name(found: Detections, i: int) -> str:
    number = int(found.classes[i])
    return found.names.get(number, str(number))


def color_of(number: int) -> tuple[str, str]:
    """The colour and the dash of a class, for its boxes on every image."""
    count = len(theme.CATEGORIES)
    return theme.CATEGORIES[number % count], _DASHES[number // count % len(_DASHES)]


def _ink(color: str) -> str:
    """Black or white, whichever can be read on a `#rrggbb` colour (WCAG's luminance)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else math.pow((p + 0.055) / 1.055, 2.4) for p in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if light > 0.179 else "#ffffff"
