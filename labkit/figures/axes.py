"""Axes with names and units, and the events of a run: marks and findings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.figures import theme
from labkit.figures.base import nice

if TYPE_CHECKING:
    from labkit.training.history import History, Mark

Dict = dict[str, Any]

STEP = "step (weight updates)"


def axis(title: str, span: Sequence[float] | None = None, **more: Any) -> Dict:
    """A linear axis; the title names the quantity and its unit."""
    found: Dict = {
        "title": {"text": title, "standoff": 8},
        "automargin": False,
        "zeroline": False,
        "exponentformat": "e",
        **more,
    }
    if span is not None:
        found["range"] = list(span)
    return found


def log_axis(title: str, span: Sequence[float], **more: Any) -> Dict:
    """A log axis over `span` (exponents of ten), every label written out in full."""
    low, high = span
    if high - low > 2:
        every = math.ceil((high - low) / 6)
        first = math.ceil(low / every) * every
        values = [10.0**k for k in range(first, math.floor(high) + 1, every)]
    else:
        values = [
            factor * 10.0**k
            for k in range(math.floor(low), math.ceil(high) + 1)
            for factor in (1, 2, 5)
            if low - 1e-9 <= k + math.log10(factor) <= high + 1e-9
        ]
    labels = [_label(value) for value in values]
    return axis(title, span, type="log", tickvals=values, ticktext=labels, **more)


def _label(value: float) -> str:
    if 1e-4 < value < 1e5:
        return f"{value:.6g}"
    power = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**power)
    return ("" if factor == 1 else f"{factor}·") + f"10<sup>{power}</sup>"


def horizon(histories: Iterable[History], steps: int | None = None) -> int:
    """Where the step axis ends.

    It is the recipe's number of steps (`steps`, or the one that the history recorded), or more
    where a run is longer; the axis of a run that ended early ends soon after its last step.
    """
    return max((_end(history, steps) for history in histories), default=1)


def _end(history: History, steps: int | None) -> int:
    last = history.last_step
    if history.finding is not None:
        return max(5, math.ceil(nice_length(last + 1)))
    planned = steps or history.about.get("recipe", {}).get("steps") or 0
    return int(planned if planned >= last and planned else math.ceil(nice_length(max(last, 1))))


def nice_length(value: float) -> float:
    """`value` rounded up to a quarter of a 1-2-5 number, so that an axis grows in few jumps."""
    unit = nice(value) / 4
    return unit * math.ceil(value / unit)


def step_axis(end: int, **more: Any) -> Dict:
    """The axis of steps, from 0 to `end`."""
    return axis(STEP, [0, end], **more)


def events(histories: Iterable[History], end: int, layout: Dict) -> Dict:
    """What happened during runs: lines across the plot, and labels above it.

    A mark (`lr 0.01 → 0.1`) is a dotted line. Marks closer than a few per cent of the axis,
    which a dragged slider leaves, are joined. A run that ended early has a line where it
    ended. Labels that would overlap others are left out; hovering over a label shows the
    whole message.

    Args:
        histories: the runs.
        end: where the step axis ends.
        layout: the layout so far.

    Returns:
        What to add to it: shapes and annotations, and room for them below the legend.
    """
    happened: list[tuple[int, str, str, str]] = []
    for history in histories:
        if history.finding is not None:
            found = history.finding
            step = int(found.get("evidence", {}).get("step", history.last_step))
            words = f"{found['message']} {found.get('remedy', '')}"
            happened.append((step, f"✕ {found['kind']} at step {step}", words, theme.WARNING))
    for history in histories:
        for mark in merge(history.marks, 0.04 * end):
            name, _, after = mark.text.partition(" → ")
            short = f"{name.split(' ')[0]} {after}" if after else mark.text
            happened.append((mark.step, short, f"step {mark.step}: {mark.text}", theme.TEXT))
    shapes: list[Dict] = []
    notes: list[Dict] = []
    taken: list[tuple[float, float]] = []
    for step, short, words, color in happened:
        dash = "dot" if color == theme.TEXT else "solid"
        line = {"color": color, "width": 1, "dash": dash}
        ends = {"x0": step, "x1": step, "y0": 0, "y1": 1}
        shapes.append({"type": "line", "xref": "x", "yref": "paper", "line": line, **ends})
        half = 0.0068 * len(short) * end  # of the label's width, in a figure 560 pixels wide
        middle = min(max(step, half), end - half)
        if all(middle + half < low or middle - half > high for low, high in taken):
            taken.append((middle - half, middle + half))
            note = {"x": middle, "xref": "x", "y": 1, "yref": "paper", "yanchor": "bottom"}
            note |= {"text": short, "hovertext": _wrap(words), "showarrow": False}
            font = {"size": 11} if color == theme.TEXT else {"size": 12, "color": color}
            notes.append({**note, "font": font})
    added: Dict = {"shapes": shapes, "annotations": notes}
    if notes:
        margin = layout["margin"]
        added["margin"] = {**margin, "t": margin["t"] + 16}
        plot = layout["height"] - margin["t"] - margin["b"] - 16
        added["legend"] = {**layout["legend"], "y": 1 + 20 / plot}
    return added


def merge(marks: Sequence[Mark], gap: float) -> list[Mark]:
    """Marks nearer than `gap` steps joined: `a → b` and `b → c` become `a → c`."""
    joined: list[Mark] = []
    for mark in marks:
        if joined and mark.step - joined[-1].step <= gap:
            before, _, _ = joined[-1].text.partition(" → ")
            name, _, after = mark.text.partition(" → ")
            same = bool(after) and before.split(" ")[0] == name.split(" ")[0]
            text = f"{before} → {after}" if same else f"{joined[-1].text}, {mark.text}"
            joined[-1] = replace(mark, text=text)
        else:
            joined.append(mark)
    return joined


def _wrap(text: str, width: int = 60) -> str:
    import textwrap

    return "<br>".join(textwrap.wrap(text, width))
