"""What panels are laid out with: rows, columns, buttons and menus of one look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ipywidgets as widgets

WIDTH = 280  # pixels that controls keep beside pictures; below that, pictures go under them


class Action(NamedTuple):
    """A button: its name, its icon, what it does in words, what it calls, and its colour."""

    name: str
    icon: str
    tip: str
    call: Callable[[], object]
    style: str = ""  # "primary" for what is done most often


def button(name: str, icon: str, tip: str, *, style: str = "", width: str = "auto") -> Any:
    """A button as wide as its words."""
    return widgets.Button(
        description=name,
        icon=icon,
        tooltip=tip,
        button_style=style,
        layout=widgets.Layout(width=width),
    )


def menu(
    name: str, options: Any, value: Any, tip: str = "", *, label: str = "auto", width: str = "auto"
) -> Any:
    """A menu; without options it is filled later."""
    given = {"options": options, "value": value} if options else {}
    return widgets.Dropdown(
        description=name,
        tooltip=tip,
        style={"description_width": label},
        layout=widgets.Layout(width=width),
        **given,
    )


def slider(
    name: str,
    value: float,
    limits: tuple[float, float],
    step: float,
    tip: str,
    *,
    label: str,
    width: str = "320px",
) -> widgets.FloatSlider:
    """A slider over numbers, with the width of its name."""
    low, high = limits
    return widgets.FloatSlider(
        value,
        min=low,
        max=high,
        step=step,
        description=name,
        tooltip=tip,
        style={"description_width": label},
        layout=widgets.Layout(width=width),
    )


def line(name: str, value: str, tip: str, *, label: str) -> widgets.Text:
    """A line of text as wide as the page leaves room; a change counts when it is left."""
    return widgets.Text(
        value=value,
        description=name,
        tooltip=tip,
        continuous_update=False,
        style={"description_width": label},
        layout=widgets.Layout(width="auto", flex="1 1 330px"),
    )


def row(*children: Any, **layout: Any) -> widgets.HBox:
    """Beside each other, and below each other where the page is narrow."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap", **layout))


def column(*children: Any, **layout: Any) -> widgets.VBox:
    """Below each other."""
    return widgets.VBox(children, layout=widgets.Layout(**layout))


def beside(controls: Any, pictures: Iterable[Any], *, width: int = WIDTH) -> widgets.HBox:
    """Controls in a narrow column, pictures beside them in all that is left of the width.

    Args:
        controls: in order, or one widget that is a column itself.
        pictures: and what stands above and between them, in order.
        width: that controls need, in pixels.
    """
    if not isinstance(controls, widgets.Widget):
        controls = column(*controls, **narrow(width))
    return row(controls, column(*pictures, flex="8 1 340px", min_width="340px"))


def narrow(width: int = WIDTH) -> dict[str, str]:
    """The layout of a column of controls: wider than `width` where there is room."""
    return {"flex": f"1 1 {width}px", "min_width": f"{width}px", "max_width": f"{width + 60}px"}


def above(controls: Iterable[Any], words: Iterable[Any], pictures: Iterable[Any]) -> widgets.VBox:
    """Controls over words, and both over pictures side by side."""
    return column(*controls, *words, halves(*pictures))


def halves(*children: Any) -> widgets.HBox:
    """Side by side in equal parts; below each other where the page is narrow."""
    return row(*(column(child, flex="1 1 340px", min_width="300px") for child in children))
