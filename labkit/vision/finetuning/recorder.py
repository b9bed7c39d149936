"""The recorder of a detector: every step's loss, and every tensor's statistics at some steps.

A toy network's recorder copies all weights at every step and computes later. A detector has
millions: here torch computes the statistics at every n-th step, straight from the weights,
and the steps between cost nothing. Snapshots are taken at those steps and thinned as they
are for the toys, so that they stay within their memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.training.history import History
from labkit.training.layout import Layout, layout_of
from labkit.training.recorder import Recorder
from labkit.training.statistics import STATISTICS
from labkit.vision.finetuning.records import StepRecord
from labkit.weights.names import layer_of, looks_like_buffer

SNAPSHOT_BYTES = 96 * 2**20  # a YOLO26n has 10 MB of weights: five to ten snapshots, on disk too


def new_history(network: nn.Module, about: Mapping[str, Any]) -> History:
    """An empty history of all parameters of a network.

    In the history of a detector, `curve("val_accuracy")` is the mAP50, `curve("train_loss")`
    the mean loss of each epoch, and `update_ratio` is of the one step it is recorded at.
    """
    return History(layout_of(network), about, snapshot_bytes=SNAPSHOT_BYTES)


def resumed_history(
    arrays: Mapping[str, np.ndarray],
    first: Mapping[str, Tensor],
    latest: Mapping[str, Tensor],
    about: Mapping[str, Any],
) -> History:
    """The history of a run that is continued, with two snapshots: its first and its latest weights.

    Args:
        arrays: from `History.arrays(weights=False)`.
        first: the weights before the first step.
        latest: the latest ones.
        about: as for `History`.
    """
    names = [name for name in first if not looks_like_buffer(name)]
    layout = Layout(tuple(names), tuple(tuple(first[name].shape) for name in names))
    both = [
        torch.cat([weights[name].reshape(-1) for name in names]).float().numpy()
        for weights in (first, latest)
    ]
    return History.from_arrays(
        layout,
        about,
        snapshot_bytes=SNAPSHOT_BYTES,
        stride=1,
        snapshots=np.stack(both),
        snapshot_steps=np.array([0, arrays["scalars"][-1, 0]], np.int64),
        latest=both[1],
        **arrays,
    )


class DetectorRecorder:
    """Watches a network in training and writes its History.

    Args:
        network: whose parameters are recorded.
        history: a new one by `new_history`, or one to continue.
        every: steps between statistics.
        initial: what distances are measured from; the current weights by default.

    Attributes:
        history: what is written.
    """

    def __init__(
        self,
        network: nn.Module,
        history: History,
        every: int,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.history, self.every = history, every
        self._recorder = Recorder(history)
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
            self._recorder.record_numbers(0, math.nan, math.nan)
            self._recorder.record_statistics(0, self._table, self._flat())

    def record(self, record: StepRecord) -> None:
        """Enter a step's loss and learning rate."""
        self._recorder.record_numbers(record.step, record.loss, record.lr)

    def record_epoch(self, step: int, train_loss: float, map50: float) -> None:
        """Enter the results at the end of an epoch."""
        self._recorder.record_evaluation(step, train_loss, val_accuracy=map50)

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
        self._recorder.record_statistics(step, table, self._flat())
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
        """The first table: gradients, updates and distances are 0, and stay 0 where frozen."""
        tensors = [p.detach() for p in named.values()]
        zeros = np.zeros(len(tensors), np.float32)
        table = np.stack([*_shape(tensors), zeros, zeros, zeros], axis=1)
        assert table.shape == (len(tensors), len(STATISTICS))
        return table

    @torch.no_grad()
    def _flat(self) -> np.ndarray:
        flat = torch.cat([p.detach().reshape(-1) for p in self._everything])
        return flat.float().cpu().numpy()


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
