"""Controls for every field of a description, made from the fields themselves."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import ipywidgets as widgets
from pydantic import BaseModel

from labkit.core.parameters import Parameter, parameters, parse
from labkit.panels import parts
from labkit.panels.comms import handle_in_order
from labkit.panels.edits import Edits
from labkit.panels.entry_arguments import EntryArguments
from labkit.panels.fields import STYLE, WIDTH, control, show
from labkit.panels.markup import alert, problem, write
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


class Describes(Protocol):
    """A validated pydantic model that can be changed field by field, and written as text."""

    def replace(self, **changes: Any) -> Self: ...
    def to_text(self) -> str: ...
    @classmethod
    def from_text(cls, text: str) -> Self: ...


Description = TypeVar("Description", bound=Describes)


class Controls(Generic[Description]):
    """Widgets that edit a validated description, one for each of its fields.

    Args:
        value: what they start from.
        on_change: called with the new description after every valid change. An error from it
            counts as a refusal: its message is shown and the old one stays.
        edits: of the panel that they belong to.

    Attributes:
        first: the fields that stay in sight, in order.
        folded: the groups that the others fold away into, with their headings.
        widget: the box to display.
        value: the description in force.
        fields: the widget of each field, by name.
    """

    first: tuple[str, ...]
    folded: ClassVar[dict[str, str]]

    def __init__(
        self,
        value: Description,
        on_change: Callable[[Description], None],
        *,
        edits: Edits | None = None,
    ) -> None:
        self.value = value
        self._on_change = on_change
        self._edits = edits or Edits()
        self.fields: dict[str, Any] = {}
        self.message = widgets.HTML()
        self.advice = widgets.HTML()
        self.text = widgets.Text(
            description="share",
            tooltip="these settings as text: copy them, or paste others",
            continuous_update=False,
            style=STYLE,
            layout=widgets.Layout(width=WIDTH),
        )
        self._observe(self.text, lambda text: type(self.value).from_text(text))
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
        self._observe(widget, lambda value: self._edited(parameter.name, value))
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
        for name, value in parts.narrow().items():
            setattr(box.layout, name, value)
        return box

    def _observe(self, widget: Any, make: Callable[[Any], Description]) -> None:
        """Adopt what `make` makes of the widget's value, or show why not."""

        def edited(change: dict[str, Any]) -> None:
            value = make(change["new"])
            self._on_change(value)
            self.value = value
            self._fill()

        guarded = self._edits.guard(edited, alert=self._alert, restore=self._fill)
        handle_in_order(widget)
        widget.observe(guarded, "value")

    def _edited(self, name: str, value: Any) -> Description:
        """The description with another value of one field."""
        if isinstance(value, str):
            value = parse(self._parameters[name], value)
        return self.value.replace(**{name: value})

    def set(self, value: Description) -> None:
        """Show another description without calling `on_change`."""
        with self._edits.lock:
            self.value = value
            self._fill()

    def say(self, message: str) -> None:
        """Show a problem under the controls; an empty one clears it."""
        write(self.message, alert(message))

    def _alert(self, error: Exception | None) -> None:
        self.say("" if error is None else problem(error))

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
        with self._edits.filling():
            self._refresh()
            for name, parameter in self._parameters.items():
                if name not in self.fields:
                    continue
                widget = self.fields[name]
                if parameter.choices and widget.options != parameter.choices:
                    widget.options = parameter.choices  # a name was registered since
                show(widget, getattr(self.value, name))
            self.text.value = self.value.to_text()
            self._advise()


class RecipeControls(Controls[Recipe]):
    """Controls for a recipe; arguments of its init, optimizer and schedule come and go.

    Attributes:
        fields: also the arguments, as `init_args.mode`.
    """

    first = FIRST
    folded = FOLDED

    def __init__(
        self, recipe: Recipe, on_change: Callable[[Recipe], None], *, edits: Edits | None = None
    ) -> None:
        self._arguments = {field: self._arguments_of(field) for field in WITH_ARGUMENTS}
        super().__init__(recipe, on_change, edits=edits)

    def _arguments_of(self, field: str) -> EntryArguments:
        key = f"{field}_args"

        def observe(widget: Any, name: str) -> None:
            self._observe(
                widget,
                lambda value: self.recipe.replace(
                    **{key: {**getattr(self.recipe, key), name: value}}
                ),
            )

        return EntryArguments(observe)

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

    def _refresh(self) -> None:
        # The limit first: a slider cuts off what is beyond it.
        self.fields["samples"].max = self.recipe.entry("task").traits["largest"]
        fields = {name: widget for name, widget in self.fields.items() if "." not in name}
        for field, box in self._arguments.items():
            box.show(self.recipe.entry(field), getattr(self.recipe, f"{field}_args"))
            fields |= {f"{field}_args.{name}": widget for name, widget in box.fields.items()}
        self.fields = fields
