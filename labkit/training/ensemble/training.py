"""An ensemble: recipes with the same architecture and data shapes, trained at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from labkit.recipe.initialize import initialize
from labkit.recipe.networks import ACTIVATIONS
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import Data
from labkit.training.device import pick_device
from labkit.training.ensemble.batches import Batches, Samples
from labkit.training.ensemble.evaluation import evaluate
from labkit.training.ensemble.optimizers import Group, group_key
from labkit.training.ensemble.rates import Rates
from labkit.training.ensemble.records import Records
from labkit.training.ensemble.stack import Stack
from labkit.training.evaluation import EVALUATION_SAMPLES, Patience, evaluation_interval
from labkit.training.history import History


class Ensemble:
    """Recipes with the same `ensemble_key` in training; `advance()` makes one step of all.

    A member leaves at the step at which its loss is no longer finite, or its patience is
    over; the others continue. Each member gets the weights that `Trainer` would give it:
    initial weights, batches and learning rates are the same, and the optimizer is torch's.

    Args:
        recipes: the members, all with the same `ensemble_key`.

    Raises:
        RecipeError: a device that is not there.
    """

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self.recipes = list(recipes)
        first = self.recipes[0]
        device = pick_device(first.device)
        self.steps = first.steps
        self.step = 0
        self._interval = evaluation_interval(self.steps)
        # Members of one optimizer are neighbours: it then updates a slice of the rows.
        groups: dict[object, list[int]] = {}
        for index, recipe in enumerate(self.recipes):
            groups.setdefault(group_key(recipe), []).append(index)
        self.active = np.array([index for members in groups.values() for index in members])
        members_in_rows = [self.recipes[index] for index in self.active]
        data = [recipe.data() for recipe in members_in_rows]
        self._samples = Samples(data, device)
        self._batches = Batches(self._samples, [r.seed for r in members_in_rows], first.batch_size)
        self._rates = Rates(members_in_rows, device)
        self.stack = Stack(first.build_network(), len(members_in_rows), device)
        self.stack.flat.copy_(_initial_weights(members_in_rows, data))
        self._groups = self._grouped(members_in_rows)
        self._patience = [Patience(recipe.patience) for recipe in members_in_rows]
        self._records = Records(self.recipes, self.stack.layout, self.active)
        self._records.moment(0, self.stack.flat, self.stack.gradient, None)
        self._evaluate(EVALUATION_SAMPLES)

    def _grouped(self, members_in_rows: list[Recipe]) -> list[Group]:
        groups, first = [], 0
        for _, members in itertools.groupby(members_in_rows, key=group_key):
            own = list(members)
            rows = slice(first, first + len(own))
            groups.append(Group(own, self.stack.flat[rows], self.stack.gradient[rows]))
            first = rows.stop
        return groups

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return not len(self.active)

    @torch.no_grad()
    def advance(self) -> None:
        """Make one step of every active member."""
        inputs, targets = next(self._batches)
        losses = self.stack.loss_and_gradient(inputs, targets).cpu().numpy()
        if not math.isfinite(losses.sum(dtype=np.float64)):  # checking each takes longer
            going = np.isfinite(losses)
            for row in np.flatnonzero(~going).tolist():
                self._diverge(row, self.step + 1, losses[row], inputs)
            self._leave(~going)
            losses = losses[going]
            if self.finished:
                return
        self.step += 1
        keeping = self._records.due(self.step)
        before = self.stack.flat.clone() if keeping else None
        self._update()
        self._rates.advance(self.step, losses)
        self._records.loss(losses)
        if keeping:
            self._records.moment(self.step, self.stack.flat, self.stack.gradient, before)
        last = self.step == self.steps
        if last or self.step % self._interval == 0:
            self._evaluate(None if last else EVALUATION_SAMPLES)
        if last:
            self._leave(np.ones(len(self.active), bool))

    def _update(self) -> None:
        rates = self._rates.at(self.step)
        first = 0
        for group in self._groups:
            group.step(rates[first : first + group.count])
            first += group.count

    def _diverge(self, row: int, step: int, loss: float, inputs: Tensor) -> None:
        seen = inputs[row if len(inputs) > 1 else 0].movedim(-1, 0)
        self._records.diverge(row, step, float(loss), seen)

    @torch.no_grad()
    def _evaluate(self, most: int | None) -> None:
        table = evaluate(self.stack, self._samples, most)
        self._records.evaluation(self.step, table)
        leaving = np.zeros(len(self.active), bool)
        for row, (train_loss, _, val_loss, _) in enumerate(table):
            if self.step and not math.isfinite(train_loss):
                # The update itself broke the weights: the next batch would only confirm it.
                inputs = self._samples.of_members(self._samples.train_inputs)
                self._diverge(row, self.step, train_loss, inputs)
                leaving[row] = True
            elif self._patience[row].over(self.step, val_loss) and 0 < self.step < self.steps:
                self._records.mark(row, self.step, self._patience[row].text)
                leaving[row] = True
        if leaving.any():
            self._leave(leaving)

    def _leave(self, leaving: np.ndarray) -> None:
        """Remove some members; what they recorded stays."""
        gone, rest = np.flatnonzero(leaving), np.flatnonzero(~leaving)
        curves = [self._rates.curve(row) for row in gone.tolist()]
        self._records.leave(self.step, gone, self.stack.flat, curves)
        self.active = self.active[rest]
        self._patience = [self._patience[row] for row in rest]
        kept = torch.from_numpy(rest).to(self.stack.flat.device)
        for part in (self.stack, self._samples, self._batches):
            part.keep(kept)
        first = new = 0
        for group in self._groups:
            own = rest[(rest >= first) & (rest < first + group.count)] - first
            first += group.count
            rows = slice(new, new + len(own))
            new = rows.stop
            own_rows = torch.from_numpy(own).to(kept.device)
            group.keep(own_rows, self.stack.flat[rows], self.stack.gradient[rows])
        self._groups = [group for group in self._groups if group.count]
        self._rates.keep(rest)

    def history(self, index: int) -> History:
        """What was recorded of one recipe, thinned to `KEPT` moments; its losses are all there.

        Args:
            index: which recipe, in the order given.
        """
        return self._records.history(index)


def _initial_weights(recipes: Sequence[Recipe], data: Sequence[Data]) -> Tensor:
    """The weights that `initial_network` gives each recipe, `(recipes, total)`.

    One network, filled anew for each, is much faster than a network for each.
    """
    network = recipes[0].build_network()
    parameters = list(network.parameters())
    gain = ACTIVATIONS[recipes[0].activation].traits["gain"]
    rows: dict[str, Tensor] = {}
    pairs = list(zip(recipes, data, strict=True))
    keys = [repr((recipe.init, recipe.init_args, recipe.seed, id(own))) for recipe, own in pairs]
    for key, (recipe, own) in zip(keys, pairs, strict=True):
        if key not in rows:
            initialize(
                network,
                recipe.init,
                gain=gain,
                inputs=own.train_inputs,
                generator=torch.Generator().manual_seed(recipe.seed),
                arguments=recipe.init_args,
            )
            rows[key] = nn.utils.parameters_to_vector(parameters).detach().clone()
    return torch.stack([rows[key] for key in keys])
