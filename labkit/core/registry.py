"""Registries: the names that a user can choose from, each declared in one place.

From an entry's keyword-only arguments come its checks, its widgets, its command line
options and its row in the tables, so adding a name is adding one decorated function.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from labkit.core.errors import RecipeError, unknown
from labkit.core.parameters import Parameter, Strict, explain, parameters


@dataclass(frozen=True, eq=False)
class Entry:
    """One named choice: a function, what it does in words, and its own arguments.

    An entry equals only itself, so that caches notice when a name is registered anew.
    """

    name: str
    make: Callable[..., Any]
    summary: str
    formula: str
    source: str
    arguments: type[BaseModel]
    traits: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Parameter]:
        """The entry's own arguments, ready for widgets and messages."""
        return parameters(self.arguments)

    def check(self, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Validate `given` and keep what differs from the defaults.

        Raises:
            RecipeError: an unknown argument or a value outside its limits.
        """
        try:
            model = self.arguments(**given)
        except ValidationError as error:
            owner = f" of {self.name!r}"
            raise RecipeError(
                explain(error, self.arguments, where=f"{where}.", owner=owner)
            ) from None
        return model.model_dump(exclude_defaults=True)


class Registry(Mapping[str, Entry]):
    """Names of one kind (`"init"`, `"optimizer"`, …) in the order they were registered."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(
        self, name: str, *, formula: str = "", source: str = "", **traits: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: enter a function under `name`.

        Its docstring's first line is the summary; its keyword-only arguments, annotated
        with `Annotated[type, knob(...)]`, are what a user may set; its positional ones
        are supplied by labkit (each registry's module says which).
        """

        def enter(make: Callable[..., Any]) -> Callable[..., Any]:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            summary = (inspect.getdoc(make) or "").partition("\n")[0]
            self._entries[name] = Entry(
                name, make, summary, formula, source, _arguments(name, make), traits
            )
            return make

        return enter

    def unregister(self, name: str) -> None:
        """Remove an entry (for notebooks that try one out, and for tests)."""
        del self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise RecipeError(unknown(self.kind, name, self._entries)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        """All names, in the order they were registered."""
        return list(self._entries)

    def table(self) -> list[dict[str, str]]:
        """One row an entry: name, what it does, formula, arguments, source."""
        return [
            {
                "name": entry.name,
                "what": entry.summary,
                "formula": entry.formula,
                "arguments": ", ".join(
                    f"{p.name}={p.default}" for p in entry.parameters().values()
                ),
                "source": entry.source,
            }
            for entry in self.values()
        ]


def _arguments(name: str, make: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model of the keyword-only arguments of `make`."""
    hints = typing.get_type_hints(make, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints[p.name], p.default)
        for p in inspect.signature(make).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(name, __base__=Strict, **fields)
