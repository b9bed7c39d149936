"""Several recipes side by side, from identical initial weights where that is possible."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from labkit.core.errors import RecipeError
from labkit.recipe.recipe import Recipe
from labkit.training.findings import Finding
from labkit.training.history import History
from labkit.training.layout import Layout
from labkit.training.session import Player
from labkit.training.trainer import Trainer


class Race(Player):
    """Recipes trained in turn, one step each, so that all have made the same number of steps.

    A contender with the first one's init and the same weight shapes starts from the
    same weights, whatever its seed; one with another init or network starts
    from its own (`shares_start` says which).

    Args:
        recipes: at least one; equal ones are refused.
        executor: see `Player`.

    Raises:
        RecipeError: no recipe, or the same twice.
    """

    def __init__(self, recipes: Sequence[Recipe], *, executor: Executor | None = None) -> None:
        super().__init__(executor)
        if not recipes:
            raise RecipeError("a race needs at least one recipe")
        if len(set(recipes)) < len(recipes):
            raise RecipeError("a race needs different recipes: two of these are the same")
        self._restart(lambda: self._line_up(list(recipes)))

    def _begin(self) -> None:
        self._line_up(self.recipes)

    def _line_up(self, recipes: list[Recipe]) -> None:
        first = recipes[0]
        leader = Trainer(first)

        def same_start(layout: Layout) -> np.ndarray | None:
            return leader.initial if layout == leader.layout else None

        trainers = [leader]
        for recipe in recipes[1:]:
            same_init = (recipe.init, recipe.init_args) == (first.init, first.init_args)
            trainers.append(Trainer(recipe, initial=same_start if same_init else None))
        self.trainers = trainers  # in one assignment: another thread may be reading

    def _advance(self) -> None:
        for trainer in self.trainers:
            if not trainer.finished:
                trainer.advance()

    @property
    def steps_done(self) -> int:
        """How many steps the furthest contender has made."""
        return max(trainer.step for trainer in self.trainers)

    @property
    def over(self) -> bool:
        """Whether every contender has finished or diverged."""
        return all(trainer.finished for trainer in self.trainers)

    @property
    def recipes(self) -> list[Recipe]:
        """The contenders, in the order in which they were added."""
        return [trainer.recipe for trainer in self.trainers]

    @property
    def shares_start(self) -> list[bool]:
        """Whether each began with the same weights as the first."""
        return [bool(np.array_equal(t.initial, self.trainers[0].initial)) for t in self.trainers]

    @property
    def histories(self) -> dict[str, History]:
        """Each contender's history, by its label."""
        return {label: trainer.history for label, trainer in self._labelled()}

    @property
    def findings(self) -> dict[str, Finding]:
        """Why contenders ended early, by their label."""
        return {label: t.finding for label, t in self._labelled() if t.finding is not None}

    @property
    def labels(self) -> list[str]:
        """The fields in which each recipe differs: `adam`, `sgd lr=0.1`."""
        return labels(self.recipes)

    def _labelled(self) -> list[tuple[str, Trainer]]:
        trainers = self.trainers
        return list(zip(labels([t.recipe for t in trainers]), trainers, strict=True))

    def add(self, recipe: Recipe) -> None:
        """Add a contender; all start again.

        Raises:
            RecipeError: it is there already.
        """
        if recipe in self.recipes:
            raise RecipeError(f"this contender is there already: {recipe.to_text()}")
        self._replace([*self.recipes, recipe])

    def remove(self, index: int) -> None:
        """Remove a contender; the others start again.

        Raises:
            RecipeError: it is the last one.
        """
        if len(self.recipes) == 1:
            raise RecipeError("a race needs at least one recipe")
        self._replace([r for i, r in enumerate(self.recipes) if i != index])

    def _replace(self, recipes: list[Recipe]) -> None:
        self._restart(lambda: self._line_up(recipes))

    def table(self) -> list[dict[str, object]]:
        """One row a contender: its label, whether it shares the start, its last values."""
        return [
            {"contender": label, "same start": shared, **history.summary()}
            for shared, (label, history) in zip(
                self.shares_start, self.histories.items(), strict=True
            )
        ]


def labels(recipes: Sequence[Recipe]) -> list[str]:
    """The fields in which each recipe differs from the others: `adam`, `sgd lr=0.1`."""
    texts = [dict(_fields(recipe)) for recipe in recipes]
    differing = {
        part
        for name in type(recipes[0]).model_fields
        if any(text[name] != texts[0][name] for text in texts[1:])
        for part in (name, name.removesuffix("_args"))  # arguments come with their owner
    } or {"optimizer"}
    return [
        " ".join(filter(None, (_label(n, v) for n, v in text.items() if n in differing)))
        for text in texts
    ]


def _fields(recipe: Recipe) -> list[tuple[str, object]]:
    return [(name, getattr(recipe, name)) for name in type(recipe).model_fields]


def _label(name: str, value: object) -> str:
    from labkit.core.parameters import spell

    if name in ("optimizer", "init", "task", "schedule", "activation", "network"):
        return str(value)
    if isinstance(value, dict):
        return " ".join(f"{key}={spell(item)}" for key, item in value.items())
    return f"{name}={spell(value)}"
