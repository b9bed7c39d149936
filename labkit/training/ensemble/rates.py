"""Each member's learning rate at each step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labkit.recipe.recipe import Recipe
from labkit.recipe.schedules import Schedule

Key = tuple[object, ...]


class Rates:
    """Learning rates of members of the same length, each with a schedule of its own.

    Args:
        members: their recipes, in the order of the rows.
        device: where `at` returns them.
    """

    def __init__(self, members: list[Recipe], device: torch.device) -> None:
        self._device = device
        self._lr = np.array([member.lr for member in members])
        self._tables: dict[Key, np.ndarray] = {}  # factors at steps 1, 2, …; 0 is not used
        self._keys: list[Key] = []
        self._watching: dict[int, Schedule] = {}  # by row: schedules that follow the loss
        for row, member in enumerate(members):
            key: Key = (member.schedule, *sorted(member.schedule_args.items()))
            if key not in self._tables:
                schedule = Schedule(member.schedule, member.steps, member.schedule_args)
                if schedule.watches:
                    self._watching[row] = schedule
                    key = ("watching", row)
                self._tables[key] = _table(schedule, member.steps)
            self._keys.append(key)
        self._constant = all(key == ("constant",) for key in self._keys)
        self._now: Tensor | None = None

    def at(self, step: int) -> Tensor:
        """The rates of a step (the first is 1), `(members, 1)`."""
        if self._now is None or not self._constant:
            factors = [self._tables[key][step] for key in self._keys]
            rates = (self._lr * factors).astype(np.float32)
            self._now = torch.from_numpy(rates[:, None]).to(self._device)
        return self._now

    def advance(self, step: int, losses: np.ndarray) -> None:
        """Give the losses of a step, `(members,)`, to the schedules that follow the loss."""
        for row, schedule in self._watching.items():
            schedule.advance(float(losses[row]))
            self._tables[self._keys[row]][step + 1 :] = schedule.factor

    def curve(self, row: int) -> np.ndarray:
        """A member's rates, the one of step 0 being the recipe's own: `(steps + 1,)`."""
        return self._lr[row] * self._tables[self._keys[row]][:-1]

    def keep(self, rows: np.ndarray) -> None:
        """Keep some members only; `rows` are their numbers."""
        self._lr = self._lr[rows]
        self._keys = [self._keys[row] for row in rows]
        place = {int(row): new for new, row in enumerate(rows)}
        self._watching = {
            place[row]: schedule for row, schedule in self._watching.items() if row in place
        }
        self._now = None


def _table(schedule: Schedule, steps: int) -> np.ndarray:
    """Factors of steps 1 to `steps`, at these places; 1 at place 0, room for one more."""
    table = np.ones(steps + 2)
    if schedule.watches:
        table[1:] = schedule.factor
        return table
    for step in range(1, steps + 1):
        table[step] = schedule.factor
        schedule.advance(0.0)
    return table
