"""A parameter: declared once as a field, used by widgets, notebooks and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from labkit.core.errors import misnamed

Scale = Literal["linear", "log", "text"]


class Choices(Protocol):
    """Anything with names to choose from (a registry)."""

    def names(self) -> list[str]: ...


class Strict(BaseModel):
    """What models of parameters share: frozen, no unknown field, no NaN, no `True` for 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, value: Any, info: Any) -> Any:
        kind = cls.model_fields[info.field_name].annotation
        values = value if isinstance(value, tuple | list) else (value,)
        numeric = kind in (int, float) or get_origin(kind) is tuple
        if numeric and any(isinstance(item, bool) for item in values):
            raise PydanticCustomError("boolean", "not a number")
        return value


def knob(
    low: float | None = None,
    high: float | None = None,
    *,
    step: float | None = None,
    scale: Scale = "linear",
    help: str = "",
    group: str = "",
    live: bool = False,
    choices: Choices | None = None,
) -> Any:
    """Field metadata for `Annotated[type, knob(...)]`.

    Args:
        low, high: inclusive limits; a value outside them is refused.
        step: the slider's step (for `scale="log"`, in decades).
        scale: how a slider moves; `"text"` asks for a number box instead.
        help: one line for tooltips, `--help` and tables.
        group: which group of controls it belongs to.
        live: a change acts on a run in progress instead of starting anew.
        choices: the registry whose names are allowed.
    """
    extra: dict[str, Any] = {
        "step": step,
        "scale": scale,
        "group": group,
        "live": live,
        "choices": choices,
    }
    return Field(ge=low, le=high, description=help, json_schema_extra=extra)


@dataclass(frozen=True)
class Parameter:
    """One field of a pydantic model, as controls and commands see it."""

    name: str
    type: Any
    default: Any
    low: float | None
    high: float | None
    step: float | None
    scale: Scale
    help: str
    group: str
    live: bool
    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The allowed values in words, for messages and `--help`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            kind = "a whole number" if self.type is int else "a number"
            return f"{kind} from {self.low:.10g} to {self.high:.10g}"
        return {
            tuple: "whole numbers such as 8,8",
            bool: "true or false",
            dict: "names with values, such as {'std': 0.1}",
        }.get(get_origin(self.type) or self.type, "another kind of value")


def parameters(model: type[BaseModel]) -> dict[str, Parameter]:
    """The fields of `model` by name, in the order they were written."""
    return {name: _parameter(name, field) for name, field in model.model_fields.items()}


def _parameter(name: str, field: Any) -> Parameter:
    extra = field.json_schema_extra or {}
    registry = extra.get("choices")
    if registry is not None:
        choices = tuple(registry.names())
    elif get_origin(field.annotation) is Literal:
        choices = tuple(str(value) for value in get_args(field.annotation))
    else:
        choices = ()
    return Parameter(
        name=name,
        type=field.annotation,
        default=field.default,
        low=_first(field.metadata, "ge"),
        high=_first(field.metadata, "le"),
        step=extra.get("step"),
        scale=extra.get("scale", "linear"),
        help=field.description or "",
        group=extra.get("group", ""),
        live=extra.get("live", False),
        choices=choices,
    )


def _first(metadata: Sequence[Any], attribute: str) -> float | None:
    """A limit from pydantic's annotated metadata (0 is a limit too)."""
    values = (getattr(item, attribute, None) for item in metadata)
    return next((value for value in values if value is not None), None)


def explain(
    error: ValidationError, model: type[BaseModel], *, where: str = "", owner: str = ""
) -> str:
    """A pydantic error as plain sentences: field, bad value, what is allowed, nearest match.

    Args:
        error: what pydantic raised.
        model: the model that was being built.
        where: a prefix for field names (`"init_args."`).
        owner: what the fields belong to, for unknown names (`"init 'normal'"`).
    """
    known = parameters(model)
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            lines.append(misnamed(f"{where}{name} is not a field{owner}", name, known))
        elif problem["type"] == "value_error":
            lines.append(str(problem["ctx"]["error"]))
        else:
            value = problem["input"]
            allowed = known[name].allowed if name in known else problem["msg"]
            lines.append(f"{where}{name}={value!r} is not allowed: give {allowed}.")
    return "\n".join(dict.fromkeys(lines))


def parse(parameter: Parameter, text: str) -> Any:
    """A value typed on a command line or in a share string, as Python.

    Numbers, booleans and lists are recognized (`8,8`, `8-8`, `true`); the rest stays
    text, and the model that owns the field decides whether it is allowed.
    """
    if get_origin(parameter.type) is tuple:
        return tuple(_number(part) for part in text.replace("-", ",").split(",")) if text else ()
    if parameter.type is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    return text if parameter.type is str or parameter.choices else _number(text)


def _number(text: str) -> int | float | str:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def spell(value: Any) -> str:
    """The inverse of `parse`: short, readable, exact."""
    if isinstance(value, tuple | list):
        return "-".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
