"""Members' learning rates, against a schedule of each one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.recipe.recipe import Recipe
from labkit.recipe.schedules import SCHEDULES, Schedule
from labkit.training.ensemble.rates import Rates

LOSSES = np.random.default_rng(0).uniform(0.5, 1.0, size=(30, 3))


@pytest.mark.parametrize("kept", [[0, 1, 2], [2, 0]])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_each_member_follows_its_own_schedule(name, kept):
    first = Recipe(schedule=name, lr=0.1, steps=30)
    members = [first, first.replace(lr=0.5), Recipe(schedule="constant", lr=0.2, steps=30)]
    rates = Rates(members, torch.device("cpu"))
    own = [Schedule(m.schedule, m.steps, m.schedule_args) for m in members]
    wanted, rows = [[m.lr] for m in members], [0, 1, 2]
    for step in range(1, 31):
        if step == 12:
            rates.keep(np.array(kept))
            rows = kept
        now = [m.lr * s.factor for m, s in zip(members, own, strict=True)]
        np.testing.assert_allclose(rates.at(step)[:, 0], [now[row] for row in rows], rtol=1e-6)
        for rate, schedule, seen, loss in zip(now, own, wanted, LOSSES[step - 1], strict=True):
            seen.append(rate)
            schedule.advance(loss)
        rates.advance(step, LOSSES[step - 1][rows])
    for place, row in enumerate(rows):
        np.testing.assert_allclose(rates.curve(place), wanted[row], rtol=1e-6)
