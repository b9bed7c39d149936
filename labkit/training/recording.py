"""The buffers that a run is recorded in: rows that grow, and weights that are thinned.

Recording is cheap because a step only copies: one flat vector of weights and one of
gradients, into a small ring. Statistics are computed for many steps at once, by the
reader, or when the ring is full. (A thread of its own for them was slower: handing Python's
lock to and fro cost more than the statistics.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from labkit.training.layout import Layout
from labkit.training.statistics import STATISTICS, describe_tensors

SNAPSHOT_BYTES = 256 * 2**20
_STAGE_BYTES = 2**20
_STAGE_STEPS = 1024
_CHUNK_BYTES = 4 * 2**20


class Table:
    """Rows of equal shape that grow at the end, in one array of doubling capacity.

    Args:
        shape: of a row.
        dtype: of its numbers.
        capacity: rows that fit before the array has to grow.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32, capacity: int = 64) -> None:
        self._rows = np.empty((capacity, *shape), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> np.ndarray:
        """All rows, `(len, *shape)`: a view."""
        return self._rows[: self._count]

    def append(self, row: Any) -> None:
        """Add one row."""
        if self._count == len(self._rows):
            self.extend(np.asarray(row, self._rows.dtype)[None])
        else:
            self._rows[self._count] = row
            self._count += 1  # last: from here on a reader may see the row

    def extend(self, rows: np.ndarray) -> None:
        """Add rows `(n, *shape)`."""
        self._make_room(len(rows))
        self._rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def grow(self, count: int) -> np.ndarray:
        """Add rows whose numbers the caller writes into the view that is returned."""
        self._make_room(count)
        self._count += count
        return self._rows[self._count - count : self._count]

    def _make_room(self, count: int) -> None:
        needed = self._count + count
        if needed > len(self._rows):
            capacity = max(needed, 2 * len(self._rows))
            bigger = np.empty((capacity, *self._rows.shape[1:]), self._rows.dtype)
            bigger[: self._count] = self.rows
            self._rows = bigger

    def keep_every_second(self) -> None:
        """Drop the rows with odd numbers."""
        self._rows = self.rows[::2].copy()
        self._count = len(self._rows)


class Chunks:
    """Rows of weights in chunks that are never moved: growing copies nothing.

    Args:
        width: numbers in a row.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._chunks: list[np.ndarray] = []
        self._each = max(1, _CHUNK_BYTES // (4 * max(1, width)))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: np.ndarray) -> None:
        """Copy one row `(width,)`."""
        place = self._count % self._each
        if place == 0:
            self._chunks.append(np.empty((self._each, self._width), np.float32))
        self._chunks[-1][place] = row
        self._count += 1

    def keep_every_second(self) -> None:
        """Drop the rows with odd numbers."""
        kept = Chunks(self._width)
        for index in range(0, self._count, 2):
            kept.append(self._chunks[index // self._each][index % self._each])
        self._chunks, self._count = kept._chunks, kept._count

    def take(self, indices: Sequence[int] | np.ndarray, span: slice) -> np.ndarray:
        """Some rows, some columns: a new array."""
        rows = [self._chunks[i // self._each][i % self._each, span] for i in indices]
        return np.stack(rows) if rows else np.empty((0, self._width), np.float32)[:, span]


class Snapshots:
    """Weights of some moments of a run, evenly spaced, within a budget of memory.

    Moments are numbered 0, 1, … in the order in which they are recorded; every `stride`-th
    is kept. When the budget is used up, every second one is dropped and the stride doubles.

    Args:
        width: how many weights there are.
        budget: bytes that they may take; two snapshots are kept in any case.
        stride: every how many moments one is kept.
    """

    def __init__(self, width: int, budget: int, stride: int = 1) -> None:
        self.stride = stride
        self._most = max(2, budget // (4 * max(1, width)))
        self._weights = Chunks(width)
        self._steps = Table((), np.int64)

    def __len__(self) -> int:
        return len(self._weights)

    @property
    def steps(self) -> np.ndarray:
        """The step of each snapshot, `(len,)`."""
        return self._steps.rows

    def take(self, indices: Sequence[int] | np.ndarray, span: slice) -> np.ndarray:
        """Some snapshots, `(indices, weights of the span)`: a new array."""
        return self._weights.take(indices, span)

    def offer(self, first: int, steps: np.ndarray, weights: np.ndarray) -> None:
        """Keep those of some moments that the stride asks for.

        Args:
            first: the number of the first moment.
            steps: of each, `(n,)`.
            weights: of each, `(n, width)`; they are copied.
        """
        for offset in range(-first % self.stride, len(weights), self.stride):
            number = first + offset
            if number % self.stride:
                continue  # the stride has doubled within this block
            if len(self) >= self._most:
                self._weights.keep_every_second()
                self._steps.keep_every_second()
                self.stride *= 2
                if number % self.stride:
                    continue
            self.keep(int(steps[offset]), weights[offset])

    def keep(self, step: int, weights: np.ndarray) -> None:
        """Keep one that is known to be wanted."""
        self._weights.append(weights)
        self._steps.append(step)


class Recording:
    """All buffers of one run. One thread writes, any thread may read.

    Reading what is derived (statistics, snapshots, the latest weights) goes through
    `settled`, which first computes what is still waiting in the ring. `numbers` and
    `evaluations` may be read at any time.

    Args:
        layout: of the tensors that are recorded.
        snapshot_bytes: the memory that snapshots may take.
        stride: of the snapshots, where a recorded run is continued.

    Attributes:
        numbers: step, loss and learning rate of each step, `(3,)` each.
        evaluations: step, training and validation loss and accuracy, `(5,)` each.
        statistics: STATISTICS of all tensors, `(tensors, 8)` each.
        statistic_steps: the step of each.
        snapshots: weights of some moments.
        initial, latest: weights that distances are measured from, and the last ones
            recorded, `(total,)`; None before the first.
    """

    def __init__(
        self, layout: Layout, snapshot_bytes: int = SNAPSHOT_BYTES, stride: int = 1
    ) -> None:
        self.layout = layout
        self.numbers = Table((3,), np.float64)
        self.evaluations = Table((5,), np.float64)
        self.statistics = Table((len(layout.names), len(STATISTICS)))
        self.statistic_steps = Table((), np.float64)
        self.snapshots = Snapshots(layout.total, snapshot_bytes, stride)
        self.initial: np.ndarray | None = None
        self.latest: np.ndarray | None = None
        # The stage: a ring of rows that wait to become statistics and snapshots. It is
        # written over and over, so that the training path touches no new memory.
        self._stage_rows = int(np.clip(_STAGE_BYTES // (8 * max(1, layout.total)), 8, _STAGE_STEPS))
        self._stage = np.empty((2, 0, layout.total), np.float32)
        self._staged = self._digested = 0  # rows, since the beginning
        self._lock = threading.RLock()

    @classmethod
    def of(
        cls,
        layout: Layout,
        *,
        snapshot_bytes: int,
        stride: int,
        scalars: np.ndarray,
        evaluations: np.ndarray,
        statistics: np.ndarray,
        statistic_steps: np.ndarray,
        snapshots: np.ndarray,
        snapshot_steps: np.ndarray,
        latest: np.ndarray,
    ) -> Recording:
        """Buffers of what is recorded already; see `History.from_arrays`."""
        recording = cls(layout, snapshot_bytes, stride)
        recording.numbers.extend(scalars)
        recording.evaluations.extend(evaluations)
        recording.statistics.extend(statistics)
        recording.statistic_steps.extend(statistic_steps)
        for step, weights in zip(snapshot_steps, snapshots, strict=True):
            recording.snapshots.keep(int(step), weights)
        if len(latest):
            recording.initial, recording.latest = snapshots[0], latest
        return recording

    @property
    def complete(self) -> bool:
        """Whether every step has its statistics, those included that still wait."""
        return len(self.statistics) + self._staged - self._digested == len(self.numbers)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Nothing waits for its statistics within this block, and nothing changes them."""
        with self._lock:
            self._digest()
            yield

    def add_step(
        self,
        numbers: Sequence[float],
        evaluation: Sequence[float] | None,
        weights: np.ndarray,
        gradients: np.ndarray,
    ) -> None:
        """A step whose statistics are computed later; the vectors `(total,)` are copied."""
        if self._staged - self._digested >= self._stage.shape[1]:
            self._make_room()
        place = self._staged % self._stage_rows
        self._stage[0, place] = weights
        self._stage[1, place] = gradients
        self.numbers.append(numbers)
        if evaluation is not None:
            self.evaluations.append(evaluation)
        self._staged += 1  # last: from here on a reader may take the row

    def add_statistics(self, step: int, table: np.ndarray, weights: np.ndarray) -> None:
        """Statistics `(tensors, 8)` that are computed already, and the weights `(total,)`.

        Args:
            step: of which they are.
            table: STATISTICS of each tensor; it is copied.
            weights: of all tensors; the array is kept as it is.
        """
        with self.settled():
            number = len(self.statistics)
            self.statistics.append(table)
            self.statistic_steps.append(step)
            self.initial = weights if self.initial is None else self.initial
            self.latest = weights
            self.snapshots.offer(number, np.array([step]), weights[None])

    def _make_room(self) -> None:
        if self._stage.shape[1]:
            with self._lock:
                self._digest()
        else:
            self._stage = np.zeros((2, self._stage_rows, self.layout.total), np.float32)

    def _digest(self) -> None:
        staged = self._staged
        while self._digested < staged:
            first = self._digested % self._stage_rows
            count = min(staged - self._digested, self._stage_rows - first)
            weights, gradients = self._stage[:, first : first + count]
            self._digest_rows(weights, gradients)
            self._digested += count

    def _digest_rows(self, weights: np.ndarray, gradients: np.ndarray) -> None:
        if self.initial is None or self.latest is None:
            self.initial = self.latest = weights[0].copy()
        before = self.latest[None]
        self.latest = weights[-1].copy()
        with np.errstate(all="ignore"):  # a diverging run overflows; its statistics show it
            updates = np.diff(weights, axis=0, prepend=before)
        table = describe_tensors(self.layout, weights, gradients, updates, self.initial, before)
        first = len(self.statistics)
        steps = self.numbers.rows[first : first + len(weights), 0]
        self.statistics.extend(table)
        self.statistic_steps.extend(steps)
        self.snapshots.offer(first, steps, weights)
