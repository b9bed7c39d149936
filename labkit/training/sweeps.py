"""Sweeps: many recipes trained at once, and the result of each."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from labkit.core.errors import LabError, RecipeError
from labkit.core.formatting import memory_size, rough_duration
from labkit.core.threads import one_thread
from labkit.recipe.recipe import Recipe
from labkit.training.ensemble import Ensemble, ensemble_key
from labkit.training.ensemble.records import KEPT, SNAPSHOT_BYTES
from labkit.training.evaluation import evaluation_interval
from labkit.training.history import History
from labkit.training.race import labels
from labkit.training.trainer import Trainer

MOST_MEMBERS = 10_000  # larger sweeps need an explicit `most=`


def grid(recipe: Recipe, *, most: int = MOST_MEMBERS, **values: Sequence[Any]) -> list[Recipe]:
    """Every combination of some fields' values: `grid(recipe, lr=[0.1, 0.01], seed=range(3))`.

    Args:
        recipe: the values of all other fields.
        most: refuse more than this many combinations.
        values: for each field the values to try; the last field varies fastest.

    Raises:
        RecipeError: what `Recipe` raises, or a field without values.
        LabError: more than `most` combinations, with what they would cost.
    """
    lists = {name: _listed(name, options) for name, options in values.items()}
    check_size(recipe, math.prod(map(len, lists.values())), most)
    return [
        recipe.replace(**dict(zip(lists, chosen, strict=True)))
        for chosen in itertools.product(*lists.values())
    ]


def _listed(name: str, options: Any) -> list[Any]:
    if isinstance(options, str) or not isinstance(options, Iterable):
        raise RecipeError(f"{name}={options!r} is no list: give {name}=[{options!r}]")
    found = list(options)
    if not found:
        raise RecipeError(f"{name} has no values: give a list such as {name}=[...]")
    return found


def check_size(recipe: Recipe, members: int, most: int) -> None:
    """Refuse a sweep so large that it is probably a mistake; the error names its cost.

    Raises:
        LabError: more than `most` members.
    """
    if members > most:
        cost = estimate(recipe, members)
        raise LabError(
            f"{members:,} members are more than {most:,}: they would take about "
            f"{memory_size(cost.memory)} of memory and {rough_duration(cost.seconds)} here. "
            f"Give fewer values, or most={members} if you mean it"
        )


@dataclass(frozen=True)
class Cost:
    """What a sweep is likely to take: memory in bytes, time in seconds."""

    memory: int
    seconds: float


def estimate(recipe: Recipe, members: int) -> Cost:
    """What a sweep of recipes like this one would cost, by a short trial of a few of them."""
    run: Trainer | Ensemble
    few = min(members, 64)
    with one_thread():
        if ensemble_key(recipe) is None:
            few, run = 1, Trainer(recipe)
            weights = run.layout.total
        else:
            run = Ensemble([recipe.replace(seed=seed) for seed in range(few)])
            weights = run.stack.layout.total
        run.advance()  # the first step of all is slower
        steps = max(1, min(recipe.steps - 1, evaluation_interval(recipe.steps), 100))
        began = time.perf_counter()
        for _ in range(steps):
            if not run.finished:
                run.advance()
        each = (time.perf_counter() - began) / (few * steps)
    kept = min(recipe.steps, KEPT) * members * 4 * weights
    working = 8 * 4 * weights * members  # weights, gradients, the optimizer's state
    losses = 32 * recipe.steps * members
    return Cost(2 * min(kept, SNAPSHOT_BYTES) + working + losses, each * members * recipe.steps)


class Histories(Sequence[History]):
    """Histories, each made when it is first read.

    An ensemble records all members in the same arrays: a history copies one member's part.
    """

    def __init__(self, make: Sequence[Callable[[], History]]) -> None:
        self._make = list(make)
        self._made: dict[int, History] = {}

    def __len__(self) -> int:
        return len(self._make)

    @overload
    def __getitem__(self, index: int) -> History: ...

    @overload
    def __getitem__(self, index: slice) -> list[History]: ...

    def __getitem__(self, index: int | slice) -> History | list[History]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # raises IndexError as a list does
        if place not in self._made:
            self._made[place] = self._make[place]()
        return self._made[place]


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep: each member's recipe and history, in the order given."""

    recipes: list[Recipe]
    histories: Sequence[History]

    def __len__(self) -> int:
        return len(self.recipes)

    @property
    def labels(self) -> list[str]:
        """The fields in which each recipe differs: `adam lr=0.1`."""
        return labels(self.recipes)

    def values(self, name: str) -> np.ndarray:
        """The last value of a curve of each member, `(members,)`: NaN where it diverged.

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
        """One row a member: the fields in which its recipe differs, and its last values."""
        return [
            {"member": label, **history.summary()}
            for label, history in zip(self.labels, self.histories, strict=True)
        ]


def sweep(
    recipes: Sequence[Recipe],
    *,
    progress: Callable[[int, int], None] | None = None,
    most: int = MOST_MEMBERS,
) -> Sweep:
    """Train many recipes at once.

    Recipes with the same data shapes, network, batch size and steps are trained together,
    as one `Ensemble`, whatever else differs; all others are trained one by one.

    Args:
        recipes: any; see `grid`.
        progress: called now and then with the steps made and the steps in all, summed over
            the members. An exception that it raises ends the sweep.
        most: refuse more than this many members.

    Returns:
        The result of each, in the order of `recipes`. Histories of ensembles are thinned: all
        losses, but weights and statistics of 200 moments at most.

    Raises:
        RecipeError: no recipe, or a device that is not there.
        LabError: more than `most` recipes, with what they would cost.
    """
    recipes = list(recipes)
    if not recipes:
        raise RecipeError("a sweep needs at least one recipe")
    check_size(recipes[0], len(recipes), most)
    total = sum(recipe.steps for recipe in recipes)
    histories: dict[int, Make] = {}
    done = 0

    def report(count: int) -> None:
        if progress:
            progress(done + count, total)

    for trained, members in _groups(recipes):
        own = [recipes[i] for i in members]
        histories.update(zip(members, trained(own, report), strict=True))
        done += sum(recipe.steps for recipe in own)
        report(0)
    return Sweep(recipes, Histories([histories[i] for i in range(len(recipes))]))


Report = Callable[[int], None]
Make = Callable[[], History]


def _groups(
    recipes: Sequence[Recipe],
) -> list[tuple[Callable[[list[Recipe], Report], list[Make]], list[int]]]:
    """Groups of recipes that can be trained together: how to train them, and their numbers."""
    groups: dict[object, list[int]] = {}
    for number, recipe in enumerate(recipes):
        groups.setdefault(ensemble_key(recipe), []).append(number)
    return [(_one_by_one if key is None else _at_once, own) for key, own in groups.items()]


def _at_once(recipes: list[Recipe], report: Report) -> list[Make]:
    ensemble = Ensemble(recipes)
    with one_thread():
        while not ensemble.finished:
            ensemble.advance()
            if ensemble.step % 20 == 0:
                report(ensemble.step * len(recipes))
    return [functools.partial(ensemble.history, i) for i in range(len(recipes))]


def _one_by_one(recipes: list[Recipe], report: Report) -> list[Make]:
    histories: list[Make] = []
    before = 0
    for recipe in recipes:
        with one_thread():
            trainer = Trainer(recipe)
        for step in trainer.run():
            if step.step % 20 == 0:
                report(before + step.step)
        histories.append(lambda history=trainer.history: history)  # type: ignore[misc]
        before += recipe.steps
    return histories
