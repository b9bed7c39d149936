"""Controls for every field of a description, made from the fields themselves."""

from __future__ import annotations

import html
import math
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast, get_origin

import ipywidgets as widgets
from pydantic import BaseModel

from labkit.core.errors import LabError
from labkit.core.parameters import Parameter, parameters, parse, spell
from labkit.recipe.advice import advice
from labkit.recipe.recipe import WITH_ARGUMENTS, Recipe

# Fields of a recipe that stay in sight, and groups that fold away, with their headings.
FIRST = ("task", "init", "optimizer", "lr")
FOLDED = {
    "arguments": "Init and optimizer details",
    "network": "Network",
    "training": "Training",
    "schedule": "Learning-rate schedule",
    "data": "Data",
}
FIRST_GROUP = "first"
LABELS = {"lr": "learning rate", "data_seed": "data seed"}
ROUND = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)  # Renard's R10: even on a log scale
WIDTH = "auto"
_STYLE = {"description_width": "104px"}


class Describes(Protocol):
    """A validated pydantic model that can be changed field by field, and written as text."""

    def replace(self, **changes: Any) -> Self: ...
    def to_text(self) -> str: ...
    @classmethod
    def from_text(cls, text: str) -> Self: ...


Description = TypeVar("Description", bound=Describes)


def control(parameter: Parameter, value: Any) -> widgets.Widget:
    """The widget for one parameter, with its label, limits, step and help."""
    common: dict[str, Any] = {
        "description": LABELS.get(parameter.name, parameter.name.replace("_", " ")),
        "tooltip": parameter.help,
        "style": _STYLE,
        "layout": widgets.Layout(width=WIDTH),
    }
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.choices:
        return widgets.Dropdown(options=parameter.choices, value=value, **common)
    if parameter.type is bool:
        return widgets.Checkbox(value=value, **common)
    if get_origin(parameter.type) is tuple:
        return widgets.Text(value=_widths(value), continuous_update=False, **common)
    if parameter.type is str:
        return widgets.Text(value=value, continuous_update=False, **common)
    if low is None or high is None:
        free = widgets.IntText if parameter.type is int else widgets.FloatText
        return free(value=value, **common)
    if parameter.type is int:
        if parameter.scale == "linear":
            return widgets.IntSlider(value, low, high, step or 1, continuous_update=False, **common)
        return widgets.BoundedIntText(value, min=low, max=high, **common)
    if parameter.scale == "log" and low:
        return LogSlider(low, high, value, continuous_update=parameter.live, **common)
    if parameter.scale == "linear":
        return widgets.FloatSlider(
            value,
            min=low,
            max=high,
            step=step or 0.01,
            readout_format=".3g",
            continuous_update=parameter.live,
            **common,
        )
    return widgets.BoundedFloatText(value, min=low, max=high, step=step, **common)


class LogSlider(widgets.SelectionSlider):
    """A log slider over round numbers, ten a decade (one a decade over a wide range).

    `FloatLogSlider` moves in equal steps of the exponent: it cannot show 0.02, and would
    change it to 0.01995 as soon as it is displayed. A value in between gets a place here.
    """

    def __init__(self, low: float, high: float, value: float, **more: Any) -> None:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        digits = ROUND if len(decades) <= 9 else (1,)
        places = (float(f"{digit}e{decade}") for decade in decades for digit in digits)
        self._round = [place for place in places if low <= place <= high]
        super().__init__(options=self._with(value), value=value, **more)

    def _with(self, value: float) -> list[tuple[str, float]]:
        return [(f"{place:g}", place) for place in sorted({*self._round, value})]

    def show(self, value: float) -> None:
        """Move to `value`, making a place for it if there is none."""
        if value != self.get_interact_value():
            with self.hold_sync():
                self.options = self._with(value)
                self.value = value


class Controls(Generic[Description]):
    """Widgets that edit a validated description, one for each of its fields.

    Args:
        value: what they start from.
        on_change: called with the new description after every valid change. A `LabError`
            from it counts as a refusal: the message is shown and the old one stays.

    Attributes:
        first: the fields that stay in sight, in order.
        folded: the groups that the others fold away into, with their headings.
        widget: the box to display.
        value: the description in force.
        fields: the widget of each field, by name.
    """

    first: tuple[str, ...]
    folded: ClassVar[dict[str, str]]

    def __init__(self, value: Description, on_change: Callable[[Description], None]) -> None:
        self.value = value
        self._on_change = on_change
        # A kernel with subshells hands the page's messages on by two threads: a field's by the
        # one that the field last sent from. Two edits at once would both start from the old value.
        self._editing = threading.RLock()
        self._filling = False
        self.fields: dict[str, Any] = {}
        self.message = widgets.HTML()
        self.advice = widgets.HTML()
        self.text = widgets.Text(
            description="share",
            tooltip="these settings as text: copy them, or paste others",
            continuous_update=False,
            style=_STYLE,
            layout=widgets.Layout(width=WIDTH),
        )
        self.text.observe(self._read_text, "value")
        self.widget = self._build()
        self._fill()

    @property
    def _parameters(self) -> dict[str, Parameter]:
        return parameters(cast("type[BaseModel]", type(self.value)))

    # --- what a kind of description may do its own way ----------------------------------

    def _control(self, parameter: Parameter, value: Any) -> widgets.Widget:
        """The widget of one field."""
        return control(parameter, value)

    def _notes(self) -> list[str]:
        """What works, but not as it seems."""
        return []

    def _place(self, parameter: Parameter) -> tuple[str, widgets.Widget]:
        """The group of a field, and what stands there for it."""
        widget = self._control(parameter, getattr(self.value, parameter.name))
        widget.observe(self._edit(parameter.name), "value")
        self.fields[parameter.name] = widget
        return (FIRST_GROUP if parameter.name in self.first else parameter.group), widget

    def _refresh(self) -> None:
        """Bring into line with the description what depends on more than one field."""

    # --- the same for all ----------------------------------------------------------------

    def _build(self) -> widgets.VBox:
        groups: dict[str, list[widgets.Widget]] = {}
        for parameter in self._parameters.values():
            group, widget = self._place(parameter)
            groups.setdefault(group, []).append(widget)
        folded = widgets.Accordion(
            [widgets.VBox(groups[group]) for group in self.folded],
            titles=tuple(self.folded.values()),
            layout=widgets.Layout(width="auto"),
        )
        first = [self.fields[name] for name in self.first]
        known = {FIRST_GROUP, *self.folded}
        rest = [w for group in groups if group not in known for w in groups[group]]
        box = widgets.VBox([*first, self.message, self.advice, folded, *rest, self.text])
        # Beside the pictures even where a page is narrow; wider where there is room.
        box.layout.flex, box.layout.min_width, box.layout.max_width = "1 1 280px", "280px", "340px"
        return box

    def _edit(self, name: str) -> Callable[[dict[str, Any]], None]:
        """What happens when the widget of field `name` changes."""

        def edited(change: dict[str, Any]) -> None:
            value = change["new"]
            if isinstance(value, str):
                value = parse(self._parameters[name], value)
            self._take(lambda: self.value.replace(**{name: value}))

        return edited

    def _read_text(self, change: dict[str, Any]) -> None:
        self._take(lambda: type(self.value).from_text(change["new"]))

    def _take(self, make: Callable[[], Description]) -> None:
        """Adopt a changed description, or show why not and put the controls back.

        What changes because a control is filled is nobody's edit.
        """
        with self._editing:
            if self._filling:
                return
            try:
                value = make()
                self._on_change(value)
            except LabError as error:
                self.say(str(error))
            else:
                self.value = value
                self.say("")
            self._fill()

    def set(self, value: Description) -> None:
        """Show another description without calling `on_change`."""
        with self._editing:
            self.value = value
            self._fill()

    def say(self, message: str) -> None:
        """Show a problem under the controls; an empty one clears it."""
        self.message.value = (
            f"<div role='alert' style='color:var(--jp-error-color1,#b00);line-height:1.3'>"
            f"{html.escape(message)}</div>"
            if message
            else ""
        )

    def _advise(self) -> None:
        """Remark, calmly, on what works but not as it seems."""
        notes = "<br>".join(html.escape(note) for note in self._notes())
        self.advice.value = (
            f"<div role='status' style='border-left:3px solid var(--jp-border-color1,#bdbdbd);"
            f"padding-left:8px;line-height:1.35'>{notes}</div>"
            if notes
            else ""
        )

    def _fill(self) -> None:
        """Make every control show the description in force."""
        self._filling = True
        try:
            self._refresh()
            for name, parameter in self._parameters.items():
                if name not in self.fields:
                    continue
                widget, value = self.fields[name], getattr(self.value, name)
                if parameter.choices and widget.options != parameter.choices:
                    widget.options = parameter.choices  # a name was registered since
                _show(widget, _widths(value) if isinstance(value, tuple) else value)
            self.text.value = self.value.to_text()
            self._advise()
        finally:
            self._filling = False


class RecipeControls(Controls[Recipe]):
    """Controls for a recipe; arguments of its init, optimizer and schedule come and go.

    Attributes:
        fields: also the arguments, as `init_args.mode`.
    """

    first = FIRST
    folded = FOLDED

    def __init__(self, recipe: Recipe, on_change: Callable[[Recipe], None]) -> None:
        self._arguments = {name: widgets.VBox() for name in WITH_ARGUMENTS}
        super().__init__(recipe, on_change)

    @property
    def recipe(self) -> Recipe:
        """The recipe in force."""
        return self.value

    def _notes(self) -> list[str]:
        return advice(self.recipe)

    def _place(self, parameter: Parameter) -> tuple[str, widgets.Widget]:
        owner = parameter.name.removesuffix("_args")
        if parameter.name == owner:
            return super()._place(parameter)
        group = parameter.group if parameter.group in FOLDED else "arguments"
        return group, self._arguments[owner]

    def _edit_argument(self, field: str, name: str) -> Callable[[dict[str, Any]], None]:
        def edited(change: dict[str, Any]) -> None:
            key = f"{field}_args"
            new = {name: change["new"]}
            self._take(lambda: self.recipe.replace(**{key: {**getattr(self.recipe, key), **new}}))

        return edited

    def _refresh(self) -> None:
        # The limit first: a slider cuts off what is beyond it.
        self.fields["samples"].max = self.recipe.entry("task").traits["largest"]
        for field, box in self._arguments.items():
            self._fill_arguments(field, box)

    def _fill_arguments(self, field: str, box: widgets.VBox) -> None:
        given = getattr(self.recipe, f"{field}_args")
        own = self.recipe.entry(field).parameters()
        if getattr(box, "shows", None) != (field, getattr(self.recipe, field)):
            made = {}
            for name, parameter in own.items():
                made[name] = control(parameter, given.get(name, parameter.default))
                made[name].observe(self._edit_argument(field, name), "value")
            self.fields = {
                key: widget
                for key, widget in self.fields.items()
                if not key.startswith(f"{field}_args.")
            }
            self.fields |= {f"{field}_args.{name}": widget for name, widget in made.items()}
            box.children = tuple(made.values())
            box.shows = (field, getattr(self.recipe, field))
        for name, parameter in own.items():
            _show(self.fields[f"{field}_args.{name}"], given.get(name, parameter.default))


def _show(widget: Any, value: Any) -> None:
    if isinstance(widget, LogSlider):
        widget.show(value)
    else:
        widget.value = value


def _widths(value: tuple[int, ...]) -> str:
    return spell(value).replace("-", ", ")
