"""Pre-training from nothing: the plan, the scenes of every step, and the step itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map_only
from torch.utils.data import Dataset

from labkit.core.errors import LabError
from labkit.core.ultralytics import ultralytics
from labkit.vision.synthetic import scenes
from labkit.vision.synthetic.drawn import draw_one


@dataclass(frozen=True)
class Stage:
    """Images of one size.

    Attributes:
        size: pixels.
        batch: images per step.
        images: in all; a multiple of `batch`.
    """

    size: int
    batch: int
    images: int


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate.

    Attributes:
        lr: the highest, of AdamW; it rises for the plan's `warmup` of the cycle's pixels and
            then falls to nothing along a cosine.
        stages: one after the other.
    """

    lr: float
    stages: tuple[Stage, ...]


class Step(NamedTuple):
    """One step of a plan.

    Attributes:
        stage: the size and number of its images.
        first: the number of its first image.
        progress: the share of its cycle's pixels that were seen before it.
        lr: its learning rate.
    """

    stage: Stage
    first: int
    progress: float
    lr: float


@dataclass(frozen=True)
class Plan:
    """All that decides what the weights will be.

    Attributes:
        architecture: an Ultralytics model.
        cycles: one after the other, each from the weights of the last: warm restarts
            (Loshchilov & Hutter, SGDR, 2017).
        weight_decay: of the weights that are multiplied, not of biases and normalizations.
        warmup: share of a cycle's pixels.
        ema: the decay of the average of weights that is kept (per step).
        seed: of the first weights and of the scenes.
    """

    architecture: str = "yolo26n"
    cycles: tuple[Cycle, ...] = (
        Cycle(2e-3, (Stage(160, 32, 128_000), Stage(320, 16, 25_600))),
        Cycle(1.5e-3, (Stage(320, 16, 80_000),)),
    )
    weight_decay: float = 0.01
    warmup: float = 0.02
    ema: float = 0.999
    seed: int = 0

    def steps(self) -> Iterator[Step]:
        """All of them, in order."""
        first = 0
        for cycle in self.cycles:
            total = sum(stage.images * stage.size**2 for stage in cycle.stages)
            pixels = 0
            for stage in cycle.stages:
                for _ in range(stage.images // stage.batch):
                    progress = pixels / total
                    yield Step(stage, first, progress, cycle.lr * self._height(progress))
                    first += stage.batch
                    pixels += stage.batch * stage.size**2

    def _height(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        return (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2


def plan_of(state: Mapping[str, Any]) -> Plan:
    """The plan of a pre-training's state."""
    plan = dict(state["plan"])
    cycles = [
        Cycle(cycle["lr"], tuple(Stage(**stage) for stage in cycle["stages"]))
        for cycle in plan.pop("cycles")
    ]
    return Plan(cycles=tuple(cycles), **plan)


class Scenes(Dataset[dict[str, torch.Tensor]]):
    """Batches of training scenes, by step."""

    def __init__(self, steps: Sequence[Step], seed: int) -> None:
        self.steps, self.seed = steps, seed

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        stage, first = self.steps[step][:2]
        drawn = [
            draw_one(scenes.draw, self.seed, "train", first + number, stage.size)
            for number in range(stage.batch)
        ]
        corners = np.concatenate([one.boxes for one in drawn]) / stage.size
        centres = np.concatenate(
            [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
        )
        counts = [len(one.boxes) for one in drawn]
        return {
            "img": torch.from_numpy(np.stack([one.image for one in drawn])),
            "bboxes": torch.from_numpy(centres.astype(np.float32)),
            "cls": torch.from_numpy(np.concatenate([one.classes for one in drawn])).float()[
                :, None
            ],
            "batch_idx": torch.from_numpy(np.repeat(np.arange(stage.batch), counts)).float(),
        }


class Pretraining:
    """A network, its average, its optimizer, and how far they are."""

    def __init__(self, plan: Plan, device: str = "cpu") -> None:
        ultralytics()
        from ultralytics.cfg import get_cfg
        from ultralytics.nn.tasks import DetectionModel
        from ultralytics.utils.torch_utils import ModelEMA

        torch.manual_seed(plan.seed)
        self.plan, self.device, self.step = plan, torch.device(device), 0
        names = dict(enumerate(scenes.NAMES))
        self.network = DetectionModel(f"{plan.architecture}.yaml", nc=len(names), verbose=False)
        self.network.names, self.network.args = names, get_cfg()
        self.network.to(self.device, memory_format=torch.channels_last).train()
        self.average = ModelEMA(self.network, decay=plan.ema, tau=300)
        matrices = [weight for weight in self.network.parameters() if weight.ndim > 1]
        vectors = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": plan.weight_decay},
                {"params": vectors, "weight_decay": 0},
            ]
        )
        self.loss = self.network.init_criterion()

    def train_on(self, batch: dict[str, torch.Tensor], step: Step) -> list[float]:
        """One step; returns the parts of its loss: box, class, distribution."""
        batch = {key: value.to(self.device) for key, value in batch.items()}
        images = batch.pop("img").permute(0, 3, 1, 2).float() / 255
        # The end-to-end head is given more weight as a cycle goes on, as Ultralytics does.
        self.loss.o2m = 0.8 - 0.7 * step.progress
        self.loss.o2o = 1 - self.loss.o2m
        for group in self.optimizer.param_groups:
            group["lr"] = step.lr
        with torch.autocast(self.device.type, torch.bfloat16):
            outputs = self.network(images.contiguous(memory_format=torch.channels_last))
        outputs = tree_map_only(torch.Tensor, torch.Tensor.float, outputs)
        loss, parts = self.loss(outputs, batch)
        self.optimizer.zero_grad()
        loss.sum().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.average.update(self.network)
        self.step += 1
        return (
            [float(part) for part in parts.values()] if isinstance(parts, dict) else parts.tolist()
        )

    def state(self) -> dict[str, Any]:
        """All that is needed to continue."""
        return {
            "plan": asdict(self.plan),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.ema.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same plan.

        Raises:
            LabError: it is of another plan.
        """
        if state["plan"] != asdict(self.plan):
            raise LabError("the folder holds a pre-training of another plan: choose a new one")
        self.network.load_state_dict(state["network"])
        self.average.ema.load_state_dict(state["average"])
        self.average.updates, self.step = state["updates"], state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
