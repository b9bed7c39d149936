"""What a sweep's map will show: rows, columns and a recipe for each cell, as one types them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labkit.core.errors import RecipeError, unknown
from labkit.core.parameters import parameters, parse, spell
from labkit.core.ranges import read_numbers
from labkit.recipe.recipe import Recipe
from labkit.training.sweeps import grid

# What may stand on the rows, and its values where none are given.
ROWS: dict[str, tuple[Any, ...]] = {
    "init": ("kaiming_normal", "xavier_normal", "orthogonal", "lsuv", "zeros"),
    "optimizer": ("sgd", "momentum", "rmsprop", "adam"),
    "batch_size": (4, 16, 64, 256),
    "activation": ("relu", "tanh", "sigmoid", "gelu"),
    "schedule": ("constant", "linear_warmup", "cosine", "one_cycle"),
}
LRS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Plan:
    """Rows, columns, and a recipe for each cell, learning rates fastest."""

    field: str
    values: list[Any]
    lrs: list[float]
    recipes: list[Recipe]

    @classmethod
    def of(cls, recipe: Recipe, field: str, values: Sequence[Any], lrs: Sequence[float]) -> Plan:
        """Plan a sweep. Raises RecipeError for what a recipe does not know."""
        if field == "lr" or field not in parameters(Recipe):
            allowed = [name for name in parameters(Recipe) if name != "lr"]
            raise RecipeError(unknown("rows", field, allowed))
        values = [tuple(value) if isinstance(value, list) else value for value in values]
        values, lrs = list(dict.fromkeys(values)), list(dict.fromkeys(map(float, lrs)))
        swept: dict[str, Any] = {field: values, "lr": lrs}
        return cls(field, values, lrs, grid(recipe, **swept))

    def place(self, value: Any, lr: float) -> int:
        """A member's number. Raises RecipeError where there is none."""
        if value not in self.values:
            raise RecipeError(unknown(self.field, value, map(spell, self.values)))
        near = [k for k, rate in enumerate(self.lrs) if math.isclose(rate, lr, rel_tol=1e-6)]
        if not near:
            raise RecipeError(unknown("lr", f"{lr:g}", [f"{rate:g}" for rate in self.lrs]))
        return self.values.index(value) * len(self.lrs) + near[0]

    @property
    def title(self) -> str:
        """What the rows are, in words."""
        return self.field.replace("_", " ")

    @property
    def names(self) -> list[str]:
        """What each member is called: `lsuv, learning rate 0.01`."""
        return [
            f"{value if isinstance(value, str) else f'{self.title} {spell(value)}'}, "
            f"learning rate {lr:.3g}"
            for value in self.values
            for lr in self.lrs
        ]


def spell_all(values: Sequence[Any]) -> str:
    """Values as one types them, with commas between."""
    return ", ".join(f"{v:g}" if isinstance(v, float) else spell(v) for v in values)


def read_values(field: str, text: str) -> list[Any]:
    """Values of a field with commas between them, as Python."""
    parts = [part for part in re.split(r"[,;\s]+", text) if part]
    return [parse(parameters(Recipe)[field], part) for part in parts]


def read_rates(text: str) -> list[float]:
    """Learning rates: a list, or a range such as `1e-3:1:log:7`.

    Raises:
        LabError: something that is no number, or a range that makes no sense.
    """
    return read_numbers("lr", text, digits=2, most=1000)
