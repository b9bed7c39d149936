"""What is recorded of an ensemble's members, thinned, and the histories made from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labkit.recipe.recipe import Recipe
from labkit.training.findings import diverged
from labkit.training.history import History, Mark
from labkit.training.layout import Layout
from labkit.training.recording import Table
from labkit.training.statistics import STATISTICS, describe_tensors
from labkit.training.trainer import initial_network

KEPT = 200  # the largest number of steps of a run whose weights and statistics are kept
SNAPSHOT_BYTES = 512 * 2**20  # at most, for the weights of all members together
_STAGE_BYTES = 4 * 2**20  # for steps whose statistics are not yet computed


@dataclass(frozen=True)
class _End:
    """How a member's loss ended: for its finding, which is computed when its history is read."""

    step: int
    loss: float
    inputs: Tensor


def stride_for(steps: int) -> int:
    """Steps from one kept moment to the next: a power of two."""
    return 1 << max(0, math.ceil(math.log2(max(1, steps) / KEPT)))


class Records:
    """Losses of all steps; weights and statistics of some; evaluations.

    The buffers are those of any recording, with a row for all members. How many rows there
    will be is known from the beginning, so they are thinned in advance.

    Members are numbered as their recipes are; a row is a member's current position.

    Args:
        recipes: one for each member.
        layout: the layout of their weights.
        active: the number of the member in each row.
    """

    def __init__(self, recipes: Sequence[Recipe], layout: Layout, active: np.ndarray) -> None:
        members, steps = len(recipes), recipes[0].steps
        self._recipes = recipes
        self.layout = layout
        self._active = active
        self.stride = stride_for(steps)
        self._last = steps
        count = steps // self.stride + 1 + (steps % self.stride > 0)
        each = 4 * members * layout.total
        self._spacing = 1  # of snapshots, in moments: they are larger
        while each * (count // self._spacing + 1) > SNAPSHOT_BYTES and self._spacing < count:
            self._spacing *= 2
        shape = (members, len(layout.names), len(STATISTICS))
        self._moments = Table((), np.int64, count)
        self._statistics = Table(shape, capacity=count)
        self._snapshots = Table((members, layout.total), capacity=math.ceil(count / self._spacing))
        self._losses = Table((members,), capacity=steps + 1)
        self._losses.append(np.full(members, np.nan))  # of step 0
        self._evaluation_steps = Table((), np.int64)
        self._evaluations = Table((members, 4), np.float64)
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

    def loss(self, values: np.ndarray) -> None:
        """The losses of the next step, `(rows,)`."""
        row = self._losses.grow(1)[0]
        row[:] = np.nan
        row[self._active] = values

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
        active, first = self._active, len(self._statistics)
        for number in range(first, first + len(weights)):
            if number % self._spacing == 0:
                self._snapshots.grow(1)[0, active] = weights[number - first]
        initial = self._snapshots.rows[0, active]
        with np.errstate(all="ignore"):  # a diverging run overflows; its statistics show it
            before = weights - updates
        table = describe_tensors(self.layout, weights, gradients, updates, initial, before)
        self._statistics.grow(len(weights))[:, active] = table

    def evaluation(self, step: int, table: np.ndarray) -> None:
        """Losses and accuracies of both splits, `(rows, 4)`."""
        row = self._evaluations.grow(1)[0]
        row[:] = np.nan
        row[self._active] = table
        self._evaluation_steps.append(step)

    def diverge(self, row: int, step: int, loss: float, inputs: Tensor) -> None:
        """A member's loss is no longer finite; `inputs` `(samples, ...)` are the batch."""
        self._ends[int(self._active[row])] = _End(step, loss, inputs.cpu())

    def mark(self, row: int, step: int, text: str) -> None:
        """Record an event of a member."""
        self._marks[int(self._active[row])] = Mark(step, text)

    def leave(self, step: int, rows: np.ndarray, weights: Tensor, curves: list[np.ndarray]) -> None:
        """Members have made their last step.

        Args:
            step: which one that was.
            rows: their positions.
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
        """A member's history: all losses, and at most `KEPT` moments of everything else."""
        recipe, steps = self._recipes[member], int(self._steps_of[member])
        moments = self._moments.rows
        moments = moments[moments <= steps]
        kept = moments[:: self._spacing]
        kept = kept[kept % (self.stride * self._spacing) == 0]
        judged = self._evaluation_steps.rows
        judged = judged[judged <= steps]
        losses, rates = self._losses.rows[: steps + 1, member], self._curves[member][: steps + 1]
        history = History.from_arrays(
            self.layout,
            {"recipe": recipe.model_dump()},
            scalars=np.stack([np.arange(steps + 1), losses, rates], 1),
            evaluations=np.column_stack([judged, self._evaluations.rows[: len(judged), member]]),
            statistics=self._statistics.rows[: len(moments), member],
            statistic_steps=moments,
            snapshots=self._snapshots.rows[: len(kept), member],
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
