"""What walks where on a toy surface, and the walks of it: computed once, kept, no widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labkit.core.errors import LabError
from labkit.toys.surfaces import Point, Surface
from labkit.toys.trajectories import Walk, check, tune, walk

KEPT = 64  # walks


@dataclass(frozen=True)
class Setting:
    """What walks where: everything that the controls of a `SurfacePanel` set."""

    surface: Surface
    lrs: tuple[tuple[str, float], ...]  # optimizers and their learning rates, in order
    arguments: Mapping[str, Mapping[str, Any]]  # of the optimizers, by name
    steps: int
    start: Point

    @classmethod
    def of(
        cls,
        surface: Surface,
        optimizers: Sequence[str],
        lr: float | Mapping[str, float] | None,
        *,
        arguments: Mapping[str, Mapping[str, Any]],
        steps: int,
        start: Point,
    ) -> Setting:
        """A setting with one learning rate for all, one for each, or (None) the best for each.

        Raises:
            LabError: an optimizer that cannot walk here, or one without a learning rate.
        """
        if not optimizers:
            raise LabError("optimizers is empty: give at least one, such as ['sgd']")
        for name in optimizers:
            check(name)
        if isinstance(lr, Mapping) and (missing := [name for name in optimizers if name not in lr]):
            raise LabError(f"lr has no learning rate for {', '.join(missing)}")
        own = {name: dict(arguments.get(name, {})) for name in optimizers}
        bare = cls(surface, tuple((name, 1.0) for name in optimizers), own, steps, start)
        if lr is None:
            return bare.tuned(optimizers)
        rates = lr if isinstance(lr, Mapping) else dict.fromkeys(optimizers, lr)
        return bare.with_rates(rates)

    @property
    def names(self) -> tuple[str, ...]:
        """The optimizers, in order."""
        return tuple(name for name, _ in self.lrs)

    @property
    def circumstances(self) -> tuple[Any, ...]:
        """What the best learning rate of an optimizer depends on."""
        return self.surface, self.steps, self.start, self.arguments

    def with_rates(self, rates: Mapping[str, float]) -> Setting:
        """The same with other learning rates; an optimizer without one there keeps its own."""
        return replace(self, lrs=tuple((name, float(rates.get(name, lr))) for name, lr in self.lrs))

    def tuned(self, names: Sequence[str]) -> Setting:
        """The same with the learning rate that `tune` finds for each of some optimizers."""
        return self.with_rates(
            {
                name: tune(
                    self.surface,
                    name,
                    steps=self.steps,
                    start=self.start,
                    optimizer_args=self.arguments.get(name),
                )
                for name in names
            }
        )


class Walks:
    """The walks of settings; one that is known already is not walked again."""

    def __init__(self) -> None:
        self._known: dict[Any, Walk] = {}

    def of(self, setting: Setting) -> dict[str, Walk]:
        """All walks of a setting, by the optimizer's name.

        Raises:
            LabError: a learning rate, an argument or a start that is not allowed.
        """
        walks = {name: self._walk(setting, name, lr) for name, lr in setting.lrs}
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        return walks

    def _walk(self, setting: Setting, name: str, lr: float) -> Walk:
        own = setting.arguments.get(name, {})
        key = (setting.surface, name, lr, tuple(own.items()), setting.steps, setting.start)
        if key not in self._known:
            self._known[key] = walk(
                setting.surface,
                name,
                lr,
                steps=setting.steps,
                start=setting.start,
                optimizer_args=own,
            )
        return self._known[key]
