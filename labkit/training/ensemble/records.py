"""What an ensemble's members leave behind, thinned, and their histories made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labkit.recipe.recipe import Recipe
from labkit.training.findings import diverged
from labkit.training.history import History, Layout, Mark
from labkit.training.statistics import STATISTICS, describe, norms
from labkit.training.trainer import initial_network

KEPT = 200  # the most moments of a run whose weights and statistics are kept
SNAPSHOT_BYTES = 512 * 2**20  # the most for the weights of all members together
_STAGE_BYTES = 4 * 2**20  # for moments that wait for their statistics


@dataclass(frozen=True)
class _End:
    """How a member's loss ended: for its finding, which is made when somebody asks."""

    step: int
    loss: float
    inputs: Tensor


def stride_for(steps: int) -> int:
    """Every how many steps a moment is kept: a power of two."""
    return 1 << max(0, math.ceil(math.log2(max(1, steps) / KEPT)))


class Records:
    """Losses of all steps; weights and statistics of some; evaluations.

    Members are numbered as their recipes are; a row is where one stands at the moment.

    Args:
        recipes: of the members.
        layout: of their weights.
        active: which member stands in each row.
    """

    def __init__(self, recipes: Sequence[Recipe], layout: Layout, active: np.ndarray) -> None:
        members, steps = len(recipes), recipes[0].steps
        self._recipes = recipes
        self.layout = layout
        self._active = active
        self.stride = stride_for(steps)
        self._last = steps
        count = steps // self.stride + 1 + (steps % self.stride > 0)
        self._moments: list[int] = []
        self._statistics = np.empty(
            (count, members, len(layout.names), len(STATISTICS)), np.float32
        )
        each = 4 * members * layout.total
        self._spacing = 1  # of snapshots, in moments: they are larger
        while each * (count // self._spacing + 1) > SNAPSHOT_BYTES and self._spacing < count:
            self._spacing *= 2
        self._snapshots = np.empty(
            (math.ceil(count / self._spacing), members, layout.total), np.float32
        )
        self._losses = np.full((steps + 1, members), np.nan, np.float32)
        self._evaluations: list[tuple[int, np.ndarray]] = []
        self._final = np.empty((members, layout.total), np.float32)
        self._steps_of = np.full(members, -1)
        self._curves: dict[int, np.ndarray] = {}
        self._ends: dict[int, _End] = {}
        self._marks: dict[int, Mark] = {}
        self._stage: list[tuple[Tensor, Tensor, Tensor]] = []
        self._room = max(1, _STAGE_BYTES // (3 * each))

    # --- recording ---------------------------------------------------------------------

    def due(self, step: int) -> bool:
        """Whether a step's weights are to be kept."""
        return step % self.stride == 0 or step == self._last

    def loss(self, step: int, values: np.ndarray) -> None:
        """The losses of a step, `(rows,)`."""
        self._losses[step, self._active] = values

    def moment(self, step: int, weights: Tensor, gradient: Tensor, before: Tensor | None) -> None:
        """Weights after a step's update, its gradient, and the weights before; `(rows, total)`."""
        update = torch.zeros_like(weights) if before is None else weights - before
        self._stage.append((weights.clone(), gradient.clone(), update))
        self._moments.append(step)
        if len(self._stage) >= self._room:
            self._digest()

    def _digest(self) -> None:
        if not self._stage:
            return
        tensors = (torch.stack(one) for one in zip(*self._stage, strict=True))
        weights, gradients, updates = (one.cpu().numpy() for one in tensors)
        self._stage.clear()
        first = len(self._moments) - len(weights)
        moments = np.arange(first, first + len(weights))
        for number in moments[moments % self._spacing == 0]:
            self._snapshots[number // self._spacing, self._active] = weights[number - first]
        initial = self._snapshots[0, self._active]
        with np.errstate(all="ignore"):  # what diverges overflows; its numbers say so
            for i, name in enumerate(self.layout.names):
                span = self.layout.span(name)
                w, g, u = (one[..., span] for one in (weights, gradients, updates))
                found = describe(w, g, u, initial[:, span], norms(w - u))
                self._statistics[first : first + len(weights), self._active, i] = found

    def evaluation(self, step: int, table: np.ndarray) -> None:
        """Losses and accuracies of both splits, `(rows, 4)`."""
        whole = np.full((len(self._recipes), 4), np.nan)
        whole[self._active] = table
        self._evaluations.append((step, whole))

    def diverge(self, row: int, step: int, loss: float, inputs: Tensor) -> None:
        """A member's loss is no longer finite; `inputs` `(samples, ...)` are what it saw."""
        self._ends[int(self._active[row])] = _End(step, loss, inputs.cpu())

    def mark(self, row: int, step: int, text: str) -> None:
        """Something that happened to a member."""
        self._marks[int(self._active[row])] = Mark(step, text)

    def leave(self, step: int, rows: np.ndarray, weights: Tensor, curves: list[np.ndarray]) -> None:
        """Members have made their last step.

        Args:
            step: which one that was.
            rows: where they stand.
            weights: of all rows, `(rows, total)`.
            curves: the learning rates of those that leave, of steps 0, 1, ….
        """
        self._digest()
        members = self._active[rows]
        self._final[members] = weights[torch.from_numpy(rows).to(weights.device)].cpu().numpy()
        self._steps_of[members] = step
        self._curves.update(zip(members.tolist(), curves, strict=True))
        self._active = np.delete(self._active, rows)

    # --- reading -----------------------------------------------------------------------

    def history(self, member: int) -> History:
        """What a member left: all losses, `KEPT` moments at the most of everything else."""
        recipe, steps = self._recipes[member], int(self._steps_of[member])
        numbers = np.arange(steps + 1, dtype=np.float64)
        moments = np.array(self._moments)
        moments = moments[moments <= steps]
        kept = moments[:: self._spacing]
        kept = kept[kept % (self.stride * self._spacing) == 0]
        evaluations = [(step, *table[member]) for step, table in self._evaluations if step <= steps]
        history = History.from_arrays(
            self.layout,
            {"recipe": recipe.model_dump()},
            scalars=np.stack(
                [numbers, self._losses[: steps + 1, member], self._curves[member][: steps + 1]], 1
            ),
            evaluations=np.array(evaluations, np.float64),
            statistics=self._statistics[: len(moments), member],
            statistic_steps=moments.astype(np.float64),
            snapshots=self._snapshots[: len(kept), member],
            snapshot_steps=kept,
            latest=self._final[member],
        )
        if member in self._marks:
            history.marks.append(self._marks[member])
        if member in self._ends:
            history.finding = self._finding(member, history)
        return history

    def _finding(self, member: int, history: History) -> dict[str, object]:
        end = self._ends[member]
        network = initial_network(self._recipes[member])
        torch.nn.utils.vector_to_parameters(
            torch.from_numpy(self._final[member]), list(network.parameters())
        )
        return diverged(end.step, end.loss, network, end.inputs, history).as_dict()
