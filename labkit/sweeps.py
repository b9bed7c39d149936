"""Sweeps: many recipes trained at once, and what came of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.errors import RecipeError
from labkit.history import History
from labkit.race import labels
from labkit.recipe import Recipe
from labkit.training import fit


def grid(recipe: Recipe, **values: Sequence[Any]) -> list[Recipe]:
    """Every combination of some fields' values: `grid(recipe, lr=[0.1, 0.01], seed=range(3))`.

    Args:
        recipe: the rest.
        values: for each field the values to try; the last field varies fastest.

    Raises:
        RecipeError: what `Recipe` raises, or a field without values.
    """
    lists = {name: list(options) for name, options in values.items()}
    for name, options in lists.items():
        if not options:
            raise RecipeError(f"{name} has no values: give a list such as {name}=[...]")
    return [
        recipe.replace(**dict(zip(lists, chosen, strict=True)))
        for chosen in itertools.product(*lists.values())
    ]


@dataclass(frozen=True)
class Sweep:
    """What a sweep gave: a recipe and its history for each member, in the order given."""

    recipes: list[Recipe]
    histories: list[History]

    def __len__(self) -> int:
        return len(self.recipes)

    @property
    def labels(self) -> list[str]:
        """What is particular to each recipe: `adam lr=0.1`."""
        return labels(self.recipes)

    def values(self, name: str) -> np.ndarray:
        """One number of each member at its end, `(members,)`: NaN where it diverged.

        Args:
            name: a curve of `History` (`val_loss`, `val_accuracy`, `train_loss`, …).
        """
        found = []
        for history in self.histories:
            _, values = history.curve(name)
            whole = history.finding is None and len(values)
            found.append(float(values[-1]) if whole else np.nan)
        return np.array(found)

    def table(self) -> list[dict[str, Any]]:
        """One row a member: what is particular to its recipe, and its last values."""
        return [
            {"member": label, **history.summary()}
            for label, history in zip(self.labels, self.histories, strict=True)
        ]


def sweep(
    recipes: Sequence[Recipe], *, progress: Callable[[int, int], None] | None = None
) -> Sweep:
    """Train many recipes.

    Args:
        recipes: any; see `grid`.
        progress: called now and then with the steps made and the steps there are, of all
            members together.
    """
    histories = []
    total = sum(recipe.steps for recipe in recipes)
    done = 0
    for recipe in recipes:
        histories.append(fit(recipe))
        done += recipe.steps
        if progress:
            progress(done, total)
    return Sweep(list(recipes), histories)
