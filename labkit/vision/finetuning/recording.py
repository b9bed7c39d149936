"""The History of a detector: every step's loss, and every tensor's statistics now and then.

A toy network's History copies all weights at every step and computes later. A detector has
millions: here the statistics are computed by torch at every so-many-th step, straight from
the weights, and the steps between cost nothing. Snapshots are taken at those steps and
thinned as they are for the toys, so that they stay within their memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.training.history import History, Layout, Step
from labkit.training.statistics import STATISTICS
from labkit.vision.finetuning.records import StepRecord
from labkit.weights.names import layer_of, looks_like_buffer

SNAPSHOT_BYTES = 96 * 2**20  # a YOLO26n has 10 MB of weights: five to ten snapshots, on disk too


class DetectorHistory(History):
    """A `History` whose statistics are of some steps, and handed in ready.

    `statistic`, `snapshots`, `quantiles`, `curve`, `save` … work as for the toy networks.
    `curve("val_accuracy")` is the mAP50, `curve("train_loss")` the mean loss of each epoch.
    `update_ratio` is of the one step it is recorded at.
    """

    def __init__(
        self,
        layout: Layout,
        about: Mapping[str, Any] | None = None,
        *,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        super().__init__(layout, about, snapshot_bytes=snapshot_bytes)
        self._statistic_steps = np.empty(0)  # a thinned history, as its base class knows them

    def record_loss(self, step: Step) -> None:
        """Enter a step's loss and learning rate."""
        with self._digesting:
            self._scalars.append(step[:3])

    def record_epoch(self, step: int, train_loss: float, map50: float) -> None:
        """Enter what an epoch's end knows."""
        with self._digesting:
            self._evaluations.append((step, train_loss, math.nan, math.nan, map50))

    def record_statistics(self, step: int, table: np.ndarray, weights: np.ndarray) -> None:
        """Enter STATISTICS of all tensors `(tensors, 8)` and all weights `(total,)` at a step."""
        with self._digesting:
            index = len(self._statistics.rows)
            self._statistics.append(table)
            assert self._statistic_steps is not None
            self._statistic_steps = np.append(self._statistic_steps, step)
            if self._initial is None:
                self._initial = weights
            self._previous = weights
            self._keep(index, step, weights)

    def without_snapshots(self) -> dict[str, np.ndarray]:
        """Everything but the snapshots, as arrays, for a checkpoint that is small."""
        with self._digesting:
            return {
                "scalars": self._scalars.rows,
                "evaluations": self._evaluations.rows,
                "statistics": self._statistics.rows,
                "statistic_steps": self._described_steps(),
            }

    @classmethod
    def taken_up(
        cls,
        arrays: Mapping[str, np.ndarray],
        first: Mapping[str, Tensor],
        last: Mapping[str, Tensor],
        about: Mapping[str, Any],
    ) -> DetectorHistory:
        """Go on with what `without_snapshots` gave, and two sets of weights.

        Args:
            arrays: from `without_snapshots`.
            first: the weights before the first step.
            last: the latest ones.
            about: as for `History`.
        """
        names = [name for name in first if not looks_like_buffer(name)]
        layout = Layout(tuple(names), tuple(tuple(first[name].shape) for name in names))
        history = cls(layout, about)
        history._scalars.extend(arrays["scalars"])
        history._evaluations.extend(arrays["evaluations"])
        history._statistics.extend(arrays["statistics"])
        history._statistic_steps = arrays["statistic_steps"]
        for step, weights in ((0, first), (history.last_step, last)):
            flat = torch.cat([weights[name].reshape(-1) for name in names]).float().numpy()
            history._snapshots.append(flat)
            history._snapshot_steps.append(step)
            history._previous = flat
            if history._initial is None:
                history._initial = flat
        return history

    def _keep(self, index: int, step: int, weights: np.ndarray) -> None:
        """A snapshot of every `stride`-th, as `History` keeps them."""
        if index % self.stride:
            return
        if self._snapshots.count >= self._most:
            self._snapshots.keep_every_second()
            self._snapshot_steps.keep_every_second()
            self.stride *= 2
            if index % self.stride:
                return
        self._snapshots.append(weights)
        self._snapshot_steps.append(step)


class Recorder:
    """Watches a network in training and writes its History.

    Args:
        network: whose parameters are recorded.
        history: to go on with, or a new one by `new_history`.
        every: steps between statistics.
        initial: what distances are measured from; the weights as they are by default.

    Attributes:
        history: what is written.
    """

    def __init__(
        self,
        network: nn.Module,
        history: DetectorHistory,
        every: int,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.history, self.every = history, every
        named = dict(network.named_parameters())
        self._moving = [name for name, p in named.items() if p.requires_grad]
        self._rows = [history.layout.names.index(name) for name in self._moving]
        self._parameters = [named[name] for name in self._moving]
        self._everything = list(named.values())
        self._layers = list(dict.fromkeys(map(layer_of, named)))
        places = {layer: k for k, layer in enumerate(self._layers)}
        self._layer_of = torch.tensor([places[layer_of(name)] for name in self._moving])
        start = initial or {name: p.detach().clone() for name, p in named.items()}
        self._initial = [start[name].to(named[name].device) for name in self._moving]
        self._before: list[Tensor] | None = None
        self._table = self._describe_all(named)
        if not len(history):
            history.record_loss(Step(0, math.nan, math.nan))
            history.record_statistics(0, self._table, self._flat())

    def record(self, record: StepRecord) -> None:
        """Enter a step's loss and learning rate."""
        self.history.record_loss(Step(record.step, record.loss, record.lr))

    def due(self, step: int) -> bool:
        """Whether the statistics of this step are wanted."""
        return step % self.every == 0

    @torch.no_grad()
    def before(self) -> None:
        """Remember the weights and the size of their gradients, just before an update."""
        if self._before is None:
            self._before = [torch.empty_like(p) for p in self._parameters]
        torch._foreach_copy_(self._before, self._parameters)  # type: ignore[arg-type]
        gradients = [
            p.grad if p.grad is not None else torch.zeros((), device=p.device)
            for p in self._parameters
        ]
        self._gradient_norms = _norms(gradients)

    @torch.no_grad()
    def after(self, step: int) -> dict[str, float]:
        """Record the statistics of the update just made; per layer, ‖Δw‖ / ‖w‖."""
        assert self._before is not None
        now = [p.detach() for p in self._parameters]
        size_before = _norms(self._before)
        torch._foreach_sub_(self._before, now)
        update = _norms(self._before)
        distance = _norms(torch._foreach_sub(now, self._initial))
        with np.errstate(all="ignore"):
            ratio = np.where(size_before > 0, update / size_before, np.nan)
        own = np.stack([*_shape(now), self._gradient_norms, ratio, distance], axis=1)
        table = self._table.copy()
        table[self._rows] = own
        self.history.record_statistics(step, table, self._flat())
        return self._by_layer(update, size_before)

    def _by_layer(self, update: np.ndarray, size: np.ndarray) -> dict[str, float]:
        """‖Δw‖ / ‖w‖ of each layer: over its moving tensors together."""
        count = len(self._layers)
        places = self._layer_of.numpy()
        moved = np.bincount(places, update**2.0, count)
        whole = np.bincount(places, size**2.0, count)
        ratios = np.sqrt(np.divide(moved, whole, out=np.zeros(count), where=whole > 0))
        return {
            layer.rpartition(".")[2]: float(ratio)
            for layer, ratio in zip(self._layers, ratios, strict=True)
        }

    @torch.no_grad()
    def _describe_all(self, named: Mapping[str, Tensor]) -> np.ndarray:
        """The first table: gradients, updates and distances are 0, and stay it when frozen."""
        tensors = [p.detach() for p in named.values()]
        zeros = np.zeros(len(tensors), np.float32)
        table = np.stack([*_shape(tensors), zeros, zeros, zeros], axis=1)
        assert table.shape == (len(tensors), len(STATISTICS))
        return table

    @torch.no_grad()
    def _flat(self) -> np.ndarray:
        flat = torch.cat([p.detach().reshape(-1) for p in self._everything])
        return flat.float().cpu().numpy()


def new_history(network: nn.Module, about: Mapping[str, Any]) -> DetectorHistory:
    """An empty history of all parameters of a network."""
    named = list(network.named_parameters())
    layout = Layout(tuple(name for name, _ in named), tuple(tuple(p.shape) for _, p in named))
    return DetectorHistory(layout, about)


def _shape(tensors: list[Tensor]) -> list[np.ndarray]:
    """Mean, standard deviation, smallest, largest and norm of each tensor."""
    spread = [torch.std_mean(t, correction=0) for t in tensors]
    extremes = [torch.aminmax(t) for t in tensors]
    return [
        _gather([mean for _, mean in spread]),
        _gather([std for std, _ in spread]),
        _gather([low for low, _ in extremes]),
        _gather([high for _, high in extremes]),
        _norms(tensors),
    ]


def _norms(tensors: list[Tensor] | tuple[Tensor, ...]) -> np.ndarray:
    return _gather(torch._foreach_norm(tensors))


def _gather(values: Any) -> np.ndarray:
    """Many numbers on a device as one array: one transfer for all."""
    return torch.stack(list(values)).float().cpu().numpy()
