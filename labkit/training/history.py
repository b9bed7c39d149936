"""History: the record of a training run, as plain numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.core.errors import unknown
from labkit.training import history_file
from labkit.training.layout import Layout
from labkit.training.recording import SNAPSHOT_BYTES, Recording
from labkit.training.statistics import QUANTILES, STATISTICS, quantiles

_NUMBERS = ("step", "loss", "lr")
_EVALUATIONS = ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
_CURVES = _NUMBERS[1:] + _EVALUATIONS[1:]


@dataclass(frozen=True)
class Mark:
    """A change made by hand, or another event, at a step (`lr 0.01 -> 0.1`)."""

    step: int
    text: str


class History:
    """Losses, metrics, per-tensor statistics and weight snapshots of one run.

    It is read from any thread, while a `Recorder` fills it from another. Quantiles, which
    need a sort, are computed from the kept weights for the steps that are shown.

    Args:
        layout: the tensors that are recorded.
        about: plain facts kept with it (the recipe, as a dict).
        snapshot_bytes: the most memory that snapshots may take. When it is full, every
            second one is dropped and the distance between them doubles, so that they
            stay evenly spaced over the whole run.

    Attributes:
        marks: changes made during the run, and an early stop.
        finding: why the run ended early, as plain data (`Finding.as_dict`), or None.
        recording: the buffers that are read here; a `Recorder` fills them.
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
        self.recording = Recording(layout, snapshot_bytes)
        self._quantiles: dict[str, dict[int, np.ndarray]] = {}

    def __len__(self) -> int:
        """How many steps are recorded (step 0 included)."""
        return len(self.recording.numbers)

    @property
    def last_step(self) -> int:
        """The number of the latest step; 0 before training."""
        return int(self.recording.numbers.rows[-1, 0]) if len(self) else 0

    @property
    def stride(self) -> int:
        """The distance between kept snapshots, in recorded moments: a power of two."""
        with self.recording.settled():
            return self.recording.snapshots.stride

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one number: `(n,)` each, of equal length.

        Args:
            name: `loss` (of the batch) or `lr`, at every step after the initial one;
                `train_loss`, `train_accuracy`, `val_loss` or `val_accuracy`, of whole
                splits, now and then.

        Raises:
            KeyError: no such curve.
        """
        if name not in _CURVES:
            raise KeyError(unknown("curve", name, _CURVES))
        if name in _NUMBERS:
            rows, column = self.recording.numbers.rows[1:], _NUMBERS.index(name)
        else:
            rows, column = self.recording.evaluations.rows, _EVALUATIONS.index(name)
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

        Raises:
            KeyError: no such statistic or tensor; the message lists the known ones.
        """
        self.layout.span(tensor)
        if name not in STATISTICS:
            raise KeyError(unknown("statistic", name, STATISTICS))
        recording = self.recording
        with recording.settled():
            index = self.layout.names.index(tensor)
            values = recording.statistics.rows[:, index, STATISTICS.index(name)]
            return recording.statistic_steps.rows, values

    def quantiles(self, tensor: str, most: int = 256) -> tuple[np.ndarray, np.ndarray]:
        """Steps `(k,)` and exact QUANTILES `(k, 5)` of one tensor's weights.

        Args:
            tensor: its name.
            most: about how many steps at the most, chosen as `snapshots` does. What was
                computed once is remembered.
        """
        span = self.layout.span(tensor)
        with self.recording.settled():
            known = self._quantiles.setdefault(tensor, {})
            chosen, steps = self._choose(most)
            missing = [k for k, step in enumerate(steps) if step not in known]
            if missing:
                values = quantiles(self.recording.snapshots.take(chosen[missing], span))
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
        with self.recording.settled():
            chosen, steps = self._choose(most)
            return steps, self.recording.snapshots.take(chosen, span)

    def _choose(self, most: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Indices and steps of kept snapshots (call it where the recording is settled)."""
        count = len(self.recording.snapshots)
        spacing = 1
        while most is not None and count > most * spacing:
            spacing *= 2
        chosen = np.arange(0, count, spacing)
        if count and chosen[-1] != count - 1:
            chosen = np.append(chosen, count - 1)
        return chosen, self.recording.snapshots.steps[chosen]

    def flat(self, step: int | None = None) -> np.ndarray:
        """All weights as one vector, now or at the kept step nearest to `step`.

        Raises:
            LookupError: nothing is recorded yet.
        """
        recording = self.recording
        with recording.settled():
            if recording.latest is None:
                raise LookupError("nothing is recorded yet")
            if step is None:
                return recording.latest
            nearest = int(np.abs(recording.snapshots.steps - step).argmin())
            return recording.snapshots.take([nearest], slice(None))[0]

    def weights(self, step: int | None = None) -> dict[str, np.ndarray]:
        """Named weights, now or at the kept step nearest to `step`."""
        return self.layout.split(self.flat(step))

    @property
    def nbytes(self) -> int:
        """Bytes of all snapshots and statistics."""
        recording = self.recording
        with recording.settled():
            weights = 4 * self.layout.total * len(recording.snapshots)
            return weights + recording.statistics.rows.nbytes

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

    def arrays(self, *, weights: bool = True) -> dict[str, np.ndarray]:
        """Everything that was recorded, as arrays; `from_arrays` makes a history of them.

        Args:
            weights: False leaves out the snapshots and the latest weights.
        """
        recording = self.recording
        with recording.settled():
            found = {
                "scalars": recording.numbers.rows,
                "evaluations": recording.evaluations.rows,
                "statistics": recording.statistics.rows,
                "statistic_steps": recording.statistic_steps.rows,
            }
            if weights:
                steps, snapshots = self.snapshots()
                empty = np.empty(0, np.float32)
                latest = empty if recording.latest is None else recording.latest
                found |= {"snapshots": snapshots, "snapshot_steps": steps, "latest": latest}
            return found

    @classmethod
    def from_arrays(
        cls,
        layout: Layout,
        about: Mapping[str, Any] | None = None,
        *,
        snapshot_bytes: int = SNAPSHOT_BYTES,
        stride: int = 1,
        **arrays: np.ndarray,
    ) -> History:
        """A history of what is recorded already.

        A `Recorder` can continue it with every step's weights where its statistics are of
        every step; a thinned one cannot.

        Args:
            layout, about, snapshot_bytes: as for `History`.
            stride: every how many moments a snapshot was kept.
            arrays: `scalars (n, 3)`: step, loss, lr of step 0 and of every later one;
                `evaluations (k, 5)`: step, training and validation loss and accuracy;
                `statistics (m, tensors, 8)` at `statistic_steps (m,)`; `snapshots
                (s, total)` at `snapshot_steps (s,)`, step 0 first; `latest (total,)`.
        """
        history = cls(layout, about)
        history.recording = Recording.of(
            layout, snapshot_bytes=snapshot_bytes, stride=stride, **arrays
        )
        return history

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file, its facts as JSON in the header; old or new, never half.

        Returns:
            The path, with `.safetensors` added where it had no suffix.
        """
        with self.recording.settled():  # both of the same moment
            arrays, stride = self.arrays(), self.stride
        facts = {
            "names": self.layout.names,
            "shapes": self.layout.shapes,
            "about": self.about,
            "marks": [asdict(mark) for mark in self.marks],
            "finding": self.finding,
            "stride": stride,
        }
        return history_file.write(path, arrays, facts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote.

        Raises:
            FileError: no such file, cut short, or not a history.
        """
        arrays, facts = history_file.read(path)
        layout = Layout(tuple(facts["names"]), tuple(tuple(shape) for shape in facts["shapes"]))
        history = cls.from_arrays(
            layout,
            facts["about"],
            snapshot_bytes=SNAPSHOT_BYTES,
            stride=facts["stride"],
            **arrays,
        )
        history.marks = [Mark(**mark) for mark in facts["marks"]]
        history.finding = facts["finding"]
        return history
