"""History: what a training run left behind, as plain numbers.

Recording is cheap because a step only copies: one flat vector of weights and one of
gradients, into a small ring. Statistics are computed for many steps at once, by whoever
reads, or when the ring is full. (A thread of its own for them was slower: handing Python's
lock to and fro cost more than the statistics.) Quantiles, which need a sort, are computed
from the kept weights for the steps that somebody looks at.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labkit.core.errors import unknown
from labkit.training.statistics import QUANTILES, STATISTICS, describe, norms, quantiles

_SCALARS = ("step", "loss", "lr")
_EVALUATIONS = ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")

SNAPSHOT_BYTES = 256 * 2**20
_STAGE_BYTES = 2**20
_STAGE_STEPS = 1024
_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Layout:
    """How named tensors lie in one flat vector: names, shapes, offsets."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def total(self) -> int:
        return sum(self.sizes)

    def span(self, name: str) -> slice:
        """Where `name` lies in the flat vector.

        Raises:
            KeyError: no such tensor; the message lists the known ones.
        """
        if name not in self.names:
            raise KeyError(f"no tensor {name!r}; there are {', '.join(self.names)}")
        index = self.names.index(name)
        start = sum(self.sizes[:index])
        return slice(start, start + self.sizes[index])

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[self.names.index(name)]

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """A flat vector as named arrays (views)."""
        return {
            name: flat[self.span(name)].reshape(shape)
            for name, shape in zip(self.names, self.shapes, strict=True)
        }


class Step(NamedTuple):
    """What one training step reports. Step 0 is the network before training.

    Attributes:
        step: how many updates have been made.
        loss: mean loss of the step's batch, before its update.
        lr: the learning rate that was used.
        train_loss, train_accuracy, val_loss, val_accuracy: of whole splits, after the
            update; only now and then (None in between, accuracy None for regression).
    """

    step: int
    loss: float
    lr: float
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None


@dataclass(frozen=True)
class Mark:
    """Something a person did during the run, at a step (`lr 0.01 -> 0.1`)."""

    step: int
    text: str


class _Table:
    """Rows of equal shape that grow at the end, in one array of doubling capacity."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self._rows = np.empty((64, *shape), dtype)
        self._count = 0

    def extend(self, rows: np.ndarray) -> None:
        needed = self._count + len(rows)
        if needed > len(self._rows):
            capacity = max(needed, 2 * len(self._rows))
            bigger = np.empty((capacity, *self._rows.shape[1:]), self._rows.dtype)
            bigger[: self._count] = self._rows[: self._count]
            self._rows = bigger
        self._rows[self._count : needed] = rows
        self._count = needed

    def append(self, row: Any) -> None:
        if self._count == len(self._rows):
            self.extend(np.asarray(row, self._rows.dtype)[None])
        else:
            self._rows[self._count] = row
            self._count += 1

    def keep_every_second(self) -> None:
        self._rows = self._rows[: self._count : 2].copy()
        self._count = len(self._rows)

    @property
    def rows(self) -> np.ndarray:
        return self._rows[: self._count]


class _Chunks:
    """Rows of weights in chunks that are never moved: growing copies nothing."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._chunks: list[np.ndarray] = []
        self._each = max(1, _CHUNK_BYTES // (4 * max(1, width)))
        self.count = 0

    def append(self, row: np.ndarray) -> None:
        place = self.count % self._each
        if place == 0:
            self._chunks.append(np.empty((self._each, self._width), np.float32))
        self._chunks[-1][place] = row
        self.count += 1

    def keep_every_second(self) -> None:
        kept = _Chunks(self._width)
        for index in range(0, self.count, 2):
            kept.append(self._chunks[index // self._each][index % self._each])
        self._chunks, self.count = kept._chunks, kept.count

    def take(self, indices: Sequence[int] | np.ndarray, span: slice) -> np.ndarray:
        """Some rows, some columns: a new array."""
        rows = [self._chunks[i // self._each][i % self._each, span] for i in indices]
        return np.stack(rows) if rows else np.empty((0, self._width), np.float32)[:, span]


class History:
    """Losses, metrics, per-tensor statistics and weight snapshots of one run.

    One thread records; any thread may read.

    Args:
        layout: the tensors that are recorded.
        about: plain facts kept with it (the recipe, as a dict).
        snapshot_bytes: the most memory that snapshots may take. When it is full, every
            second one is dropped and the distance between them doubles, so that they
            stay evenly spaced over the whole run.
    """

    def __init__(
        self,
        layout: Layout,
        about: Mapping[str, Any] | None = None,
        *,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        self.layout = layout
        self.about = dict(about or {})
        self.marks: list[Mark] = []
        self.finding: dict[str, Any] | None = None
        self.stride = 1
        self._most = max(2, snapshot_bytes // (4 * max(1, layout.total)))
        self._scalars = _Table((3,), np.float64)
        self._evaluations = _Table((5,), np.float64)
        self._statistics = _Table((len(layout.names), len(STATISTICS)))
        self._statistic_steps: np.ndarray | None = None  # all steps, but in a thinned history
        self._snapshots = _Chunks(layout.total)
        self._snapshot_steps = _Table((), np.int64)
        self._quantiles: dict[str, dict[int, np.ndarray]] = {}
        self._initial: np.ndarray | None = None
        self._previous: np.ndarray | None = None
        # The stage: a ring of rows that wait to become statistics and snapshots. It is
        # written over and over, so that the training path touches no new memory.
        self._stage_rows = int(np.clip(_STAGE_BYTES // (8 * max(1, layout.total)), 8, _STAGE_STEPS))
        self._stage = np.empty((2, 0, layout.total), np.float32)
        self._recorded = 0
        self._digested = 0
        self._digesting = threading.RLock()

    # --- recording (one thread) --------------------------------------------------------

    def record(self, step: Step, weights: np.ndarray, gradients: np.ndarray) -> None:
        """Enter a step.

        Args:
            step: its numbers.
            weights: all of them as one flat vector, after the step's update.
            gradients: likewise, before the update; zeros for step 0. Both are copied.
        """
        if self._recorded - self._digested >= self._stage.shape[1]:
            self._make_room()
        place = self._recorded % self._stage_rows
        self._stage[0, place] = weights
        self._stage[1, place] = gradients
        self._scalars.append(step[:3])
        if step.val_loss is not None:
            row = (step.step, *step[3:])
            self._evaluations.append([math.nan if value is None else value for value in row])
        self._recorded += 1  # last: from here on a reader may take the row

    def _make_room(self) -> None:
        if self._stage.shape[1]:
            self._digest()
        elif self._statistic_steps is not None:
            raise ValueError("this history is thinned: it cannot go on")
        else:
            self._stage = np.zeros((2, self._stage_rows, self.layout.total), np.float32)

    def mark(self, text: str) -> None:
        """Note something that happened now."""
        self.marks.append(Mark(self.last_step, text))

    # --- statistics (any thread) -------------------------------------------------------

    def _digest(self) -> None:
        with self._digesting:
            recorded = self._recorded
            while self._digested < recorded:
                first = self._digested % self._stage_rows
                count = min(recorded - self._digested, self._stage_rows - first)
                weights, gradients = self._stage[:, first : first + count]
                self._digest_rows(self._digested, weights, gradients)
                self._digested += count

    def _digest_rows(self, first: int, weights: np.ndarray, gradients: np.ndarray) -> None:
        if self._initial is None:
            self._initial = self._previous = weights[0].copy()
        before = self._previous
        assert before is not None
        self._previous = weights[-1].copy()
        table = np.empty((len(weights), len(self.layout.names), len(STATISTICS)), np.float32)
        with np.errstate(all="ignore"):  # a diverging run overflows; its numbers say so
            updates = np.diff(weights, axis=0, prepend=before[None])
            for i, name in enumerate(self.layout.names):
                span = self.layout.span(name)
                table[:, i] = describe(
                    weights[:, span],
                    gradients[:, span],
                    updates[:, span],
                    self._initial[span],
                    norms(before[None, span]),
                )
        self._statistics.extend(table)
        self._keep_snapshots(first, weights)

    def _keep_snapshots(self, first: int, weights: np.ndarray) -> None:
        for offset in range(-first % self.stride, len(weights), self.stride):
            index = first + offset
            if index % self.stride:
                continue  # the stride doubled within this block
            if self._snapshots.count >= self._most:
                self._snapshots.keep_every_second()
                self._snapshot_steps.keep_every_second()
                self.stride *= 2
                if index % self.stride:
                    continue
            self._snapshots.append(weights[offset])
            self._snapshot_steps.append(index)

    # --- reading -----------------------------------------------------------------------

    def __len__(self) -> int:
        """How many steps are recorded (step 0 included)."""
        return self._scalars._count

    @property
    def last_step(self) -> int:
        """The number of the latest step; 0 before training."""
        return int(self._scalars.rows[-1, 0]) if len(self) else 0

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one number: `(n,)` each, of equal length.

        Args:
            name: `loss` (of the batch) or `lr`, at every step after the initial one;
                `train_loss`, `train_accuracy`, `val_loss` or `val_accuracy`, of whole
                splits, now and then.
        """
        if name not in _SCALARS[1:] + _EVALUATIONS[1:]:
            raise KeyError(unknown("curve", name, _SCALARS[1:] + _EVALUATIONS[1:]))
        if name in _SCALARS:
            rows, column = self._scalars.rows[1:], _SCALARS.index(name)
        else:
            rows, column = self._evaluations.rows, _EVALUATIONS.index(name)
        return rows[:, 0], rows[:, column]

    def best_step(self) -> int:
        """The step of the lowest validation loss, the first of equals.

        `weights(history.best_step())` are the weights that early stopping would keep.

        Raises:
            LookupError: no finite validation loss is recorded.
        """
        steps, losses = self.curve("val_loss")
        if not np.isfinite(losses).any():
            raise LookupError("no finite validation loss is recorded")
        return int(steps[np.nanargmin(losses)])

    def statistic(self, name: str, tensor: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one of `STATISTICS` of one tensor, `(n,)` each.

        `std` is of the population; `update_ratio` is the norm of the update over the
        norm of the weights before it (NaN where that was 0); `distance` is from the
        initial weights. At step 0, before any gradient, `gradient_norm` is 0.
        """
        self.layout.span(tensor)
        if name not in STATISTICS:
            raise KeyError(unknown("statistic", name, STATISTICS))
        with self._digesting:
            self._digest()
            index = self.layout.names.index(tensor)
            values = self._statistics.rows[:, index, STATISTICS.index(name)]
            return self._described_steps(), values

    def _described_steps(self) -> np.ndarray:
        """The steps of the statistics (call it under the lock, after `_digest`)."""
        if self._statistic_steps is not None:
            return self._statistic_steps
        return self._scalars.rows[: len(self._statistics.rows), 0]

    def quantiles(self, tensor: str, most: int = 256) -> tuple[np.ndarray, np.ndarray]:
        """Steps `(k,)` and exact QUANTILES `(k, 5)` of one tensor's weights.

        Args:
            tensor: its name.
            most: about how many steps at the most, chosen as `snapshots` does. What was
                computed once is remembered.
        """
        span = self.layout.span(tensor)
        with self._digesting:
            known = self._quantiles.setdefault(tensor, {})
            chosen, steps = self._choose(most)
            missing = [k for k, step in enumerate(steps) if step not in known]
            if missing:
                values = quantiles(self._snapshots.take(chosen[missing], span))
                known.update(zip(steps[missing].tolist(), values, strict=True))
            rows = [known[step] for step in steps.tolist()]
        return steps, np.stack(rows) if rows else np.empty((0, len(QUANTILES)), np.float32)

    def snapshots(
        self, tensor: str | None = None, most: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps `(k,)` and weights `(k, count)` that were kept, of one tensor or of all.

        Args:
            tensor: its name; None for the whole flat vector.
            most: about how many at the most, the latest always among them. They are
                spaced by a power of two of the kept ones, so that a history that grows
                is asked for the same steps again.
        """
        span = slice(None) if tensor is None else self.layout.span(tensor)
        with self._digesting:
            chosen, steps = self._choose(most)
            return steps, self._snapshots.take(chosen, span)

    def _choose(self, most: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Indices and steps of kept snapshots (call it under the lock)."""
        self._digest()
        count = self._snapshots.count
        spacing = 1
        while most is not None and count > most * spacing:
            spacing *= 2
        chosen = np.arange(0, count, spacing)
        if count and chosen[-1] != count - 1:
            chosen = np.append(chosen, count - 1)
        return chosen, self._snapshot_steps.rows[chosen]

    def flat(self, step: int | None = None) -> np.ndarray:
        """All weights as one vector, now or at the kept step nearest to `step`.

        Raises:
            LookupError: nothing is recorded yet.
        """
        with self._digesting:
            self._digest()
            if self._previous is None:
                raise LookupError("nothing is recorded yet")
            if step is None:
                return self._previous
            nearest = int(np.abs(self._snapshot_steps.rows - step).argmin())
            return self._snapshots.take([nearest], slice(None))[0]

    def weights(self, step: int | None = None) -> dict[str, np.ndarray]:
        """Named weights, now or at the kept step nearest to `step`."""
        return self.layout.split(self.flat(step))

    @property
    def nbytes(self) -> int:
        """Bytes of all snapshots and statistics."""
        with self._digesting:
            self._digest()
            return 4 * self.layout.total * self._snapshots.count + self._statistics.rows.nbytes

    def summary(self) -> dict[str, Any]:
        """The last values, for a results table."""
        rows: dict[str, Any] = {"steps": self.last_step}
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            _, values = self.curve(name)
            finite = values[np.isfinite(values)]
            if len(finite):
                rows[name] = float(finite[-1])
        if self.finding is not None:
            rows["finding"] = self.finding["message"]
        return rows

    # --- files and arrays ----------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was recorded, as arrays; `from_arrays` makes a history of them."""
        with self._digesting:
            self._digest()
            steps, snapshots = self.snapshots()
            return {
                "scalars": self._scalars.rows,
                "evaluations": self._evaluations.rows,
                "statistics": self._statistics.rows,
                "statistic_steps": self._described_steps(),
                "snapshots": snapshots,
                "snapshot_steps": steps,
                "latest": np.empty(0, np.float32) if self._previous is None else self._previous,
            }

    @classmethod
    def from_arrays(
        cls, layout: Layout, about: Mapping[str, Any] | None = None, **arrays: np.ndarray
    ) -> History:
        """A history of what is recorded already.

        It can go on where its statistics are of every step; a thinned one cannot.

        Args:
            layout, about: as for `History`.
            arrays: `scalars (n, 3)`: step, loss, lr of step 0 and of every later one;
                `evaluations (k, 5)`: step, training and validation loss and accuracy;
                `statistics (m, tensors, 8)` at `statistic_steps (m,)`; `snapshots
                (s, total)` at `snapshot_steps (s,)`, step 0 first; `latest (total,)`.
        """
        history = cls(layout, about)
        history._scalars.extend(arrays["scalars"])
        history._evaluations.extend(arrays["evaluations"])
        history._statistics.extend(arrays["statistics"])
        if len(arrays["statistics"]) < len(arrays["scalars"]):
            history._statistic_steps = arrays["statistic_steps"]
        history._snapshot_steps.extend(arrays["snapshot_steps"])
        for row in arrays["snapshots"]:
            history._snapshots.append(row)
        if len(arrays["latest"]):
            history._initial = arrays["snapshots"][0]
            history._previous = arrays["latest"]
        history._recorded = history._digested = len(history)
        return history

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file, its facts as JSON in the header; old or new, never half.

        Returns:
            The path, with `.safetensors` added where it had no suffix.
        """
        from labkit.training.history_file import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote.

        Raises:
            FileError: no such file, cut short, or not a history.
        """
        from labkit.training.history_file import load

        return load(path)
