"""FineTuner: Ultralytics' DetectionTrainer without side effects.

Its loop, loss, assignment, augmentation, optimizers and warm-up are used as they are. What
is replaced: where data and weights come from (checked ones), the arithmetic of the layers
(channels-last, bfloat16 where it is native), validation (`labkit.vision.evaluation`, once an
epoch), checkpoints (`FineTuner` writes none: its caller does), and every callback to
trackers, plots and the network (none are called).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from labkit.core.ultralytics import ultralytics

ultralytics()  # before the imports below: they are its

from ultralytics.data.build import build_dataloader  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402
from ultralytics.utils.torch_utils import ModelEMA  # noqa: E402

from labkit.vision.detector import Detector  # noqa: E402
from labkit.vision.evaluation import Metrics, evaluate  # noqa: E402
from labkit.vision.finetuning.images import Images  # noqa: E402
from labkit.vision.finetuning.network import TrainedDetector, pick_precision  # noqa: E402
from labkit.vision.finetuning.recorder import DetectorRecorder  # noqa: E402
from labkit.vision.finetuning.records import GridRecord, StepRecord, Used  # noqa: E402
from labkit.vision.finetuning.settings import settings, used  # noqa: E402
from labkit.vision.finetuning.spec import FineTune  # noqa: E402

if TYPE_CHECKING:
    from labkit.vision.data import DataSet
    from labkit.weights.file import Weights

LARGEST_NORM = 10.0  # Ultralytics clips gradients there
GPU_WORKERS = 4  # processes that load data where the GPU does the rest
NOTHING = 0.05  # the loss of a batch in which nothing is looked for is below it
PATIENCE = 5  # steps in a row that match no labelled box
FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)  # also on a CPU


class Stopped(Exception):  # noqa: N818  (a signal, no error)
    """The run was asked to end."""


class Diverged(Exception):  # noqa: N818  (a signal, no error)
    """The loss or its gradient is no longer a number.

    Attributes:
        step: the step that was not made.
        loss: its loss.
        images: its batch.
    """

    def __init__(self, step: int, loss: float, images: Tensor) -> None:
        super().__init__(f"step {step}: loss {loss}")
        self.step, self.loss, self.images = step, loss, images


class Collapsed(Exception):  # noqa: N818  (a signal, no error)
    """The detector finds nothing anywhere, and nothing in the loss would bring it back.

    Attributes:
        step: the step that was not made.
        loss: its loss.
    """

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"step {step}: loss {loss}")
        self.step, self.loss = step, loss


class FineTuner(DetectionTrainer):  # type: ignore[misc]
    """One fine-tuning run. Call `train()`: `Stopped`, `Diverged` and `Collapsed` come out.

    (Without "Trainer" in its name Ultralytics attaches no trackers to it.)

    Args:
        spec: what to do.
        data: the data set, checked.
        network: what to train.
        folder: Ultralytics' `args.yaml` goes there.
        make_recorder: called with the network once it is on its device.
        stop: called before every step; True ends the run.
        on_step: called after every step.
        on_start: called with the trainer when all is set up, before the first step.
        on_epoch: called with the trainer after every epoch, evaluated.
        state: a `state()` to go on from.
    """

    def __init__(
        self,
        spec: FineTune,
        data: DataSet,
        network: TrainedDetector,
        folder: Path,
        *,
        make_recorder: Callable[[nn.Module], DetectorRecorder],
        stop: Callable[[], bool],
        on_step: Callable[[StepRecord], None],
        on_start: Callable[[FineTuner], None],
        on_epoch: Callable[[FineTuner], None],
        state: dict[str, Any] | None = None,
    ) -> None:
        self.spec, self.checked_data, self.network = spec, data, network
        self.make_recorder, self.should_stop = make_recorder, stop
        self.on_step, self.on_start, self.on_epoch = on_step, on_start, on_epoch
        self.to_resume = state
        self.step_number = 0
        self.unmatched = 0  # steps in a row in which no label met a prediction
        self.found: Metrics | None = None
        self.epoch_started = time.perf_counter()
        threads = torch.get_num_threads()
        super().__init__(overrides=settings(spec, folder))
        torch.set_num_threads(threads)  # Ultralytics leaves one core idle: on two, half of all

    # --- where things come from --------------------------------------------------------

    def get_dataset(self) -> dict[str, Any]:
        """What was checked before: nothing is looked up, fetched or executed."""
        return self.checked_data.config()

    def setup_model(self) -> dict[str, Any] | None:
        """The network as it was handed in."""
        self.network.precision = pick_precision(self.spec.precision, self.device)
        self.model = self.network.to(self.device, memory_format=torch.channels_last)
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        return self.to_resume

    def get_dataloader(
        self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Ultralytics' loader; the images of the training split are decoded once."""
        images = Images(
            self.checked_data,
            mode,
            imgsz=self.args.imgsz,
            batch_size=batch_size,
            augment=mode == "train",
            hyp=self.args,
            cache="ram" if mode == "train" else None,
            stride=self.stride,
            pad=0.0,
        )
        workers = 0 if self.device.type == "cpu" else GPU_WORKERS
        return build_dataloader(images, batch_size, workers, mode == "train", device=self.device)

    def get_validator(self) -> Any:
        """None of Ultralytics': `validate` asks `labkit.vision.evaluation`."""
        return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

    def _setup_train(self) -> None:
        super()._setup_train()
        self.recorder = self.make_recorder(self.model)
        self.average_moving_tensors()

    def average_moving_tensors(self) -> None:
        """Leave frozen tensors out of the average of weights: it is what they are."""
        still = tuple(f"model.{layer}." for layer in self.spec.frozen)
        now, average = self.model.state_dict(), self.ema.ema.state_dict()
        names = [
            name
            for name, tensor in average.items()
            if tensor.dtype.is_floating_point
            and not (name.startswith(still) and self.spec.freeze_statistics)
        ]
        self.ema._pairs = ([average[name] for name in names], [now[name] for name in names])

    def _model_train(self) -> None:
        """Training mode, but for frozen layers whose statistics are frozen as well."""
        if self.spec.freeze_statistics:
            super()._model_train()
        else:
            self.model.train()

    def _setup_scheduler(self) -> None:
        super()._setup_scheduler()
        if self.spec.schedule == "constant":
            self.lf = lambda epoch: 1.0
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.lf)

    def build_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Ultralytics' choice, its update in one call for all tensors."""
        optimizer = super().build_optimizer(*args, **kwargs)
        for group in optimizer.param_groups:
            if "fused" in group:
                group["fused" if type(optimizer) in FUSED else "foreach"] = True
            elif "foreach" in group:
                group["foreach"] = True
        return optimizer

    # --- one step ----------------------------------------------------------------------

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Images as shares of 255, channels innermost; moved while they are still bytes."""
        images = batch["img"].to(
            self.device, memory_format=torch.channels_last, non_blocking=self.device.type != "cpu"
        )
        batch = {
            key: value.to(self.device) if isinstance(value, Tensor) and key != "img" else value
            for key, value in batch.items()
        }
        batch["img"] = images.float().div_(255)
        self.images, self.labelled = batch["img"], len(batch["cls"]) > 0
        return batch

    def optimizer_step(self) -> None:
        """Clip, update, average, as Ultralytics does; refuse what is no number; record."""
        number = self.step_number + 1
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_NORM)
        loss = float(sum(self.loss_items.values()))
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            bad = loss if not math.isfinite(loss) else float(norm)
            raise Diverged(number, bad, self.images)
        self._refuse_collapse(number, loss)
        due = self.recorder.due(number)
        if due:
            self.recorder.before()
        self.optimizer.step()
        self.step_number = number
        updates = self.recorder.after(number) if due else None
        self.optimizer.zero_grad()
        self.ema.update(self.model)
        self._report(loss, updates)

    def _refuse_collapse(self, number: int, loss: float) -> None:
        """End a run whose scores are all zero: labelled boxes are then matched to nothing.

        Matches are ranked by score x overlap (TOOD, Feng et al. 2021, as in Ultralytics'
        TaskAlignedAssigner); with scores of exactly zero there are none, the box loss is
        exactly zero, and what is left of the loss only pushes the scores further down.
        """
        blind = self.labelled and loss < NOTHING and parts(self.loss_items)["box"] == 0
        self.unmatched = self.unmatched + 1 if blind else 0
        if self.unmatched == PATIENCE:
            raise Collapsed(number, loss)

    def _report(self, loss: float, updates: dict[str, float] | None) -> None:
        record = StepRecord(
            self.step_number,
            self.epoch + 1,
            loss,
            parts(self.loss_items),
            self.rate,
            updates,
            len(self.train_loader) * self.epochs,
            self.on_grid() if updates is not None else None,
        )
        self.recorder.record(record)
        self.on_step(record)

    def on_grid(self) -> GridRecord | None:
        """Where weights are on a grid that they are rounded to: there is none here."""
        return None

    @property
    def rate(self) -> float:
        """The learning rate of weights, now."""
        return float(self.weight_group()["lr"])

    def weight_group(self) -> dict[str, Any]:
        """The optimizer's group of decayed weights (MuSGD has two, the plain one is last)."""
        groups = self.optimizer.param_groups
        chosen = [g for g in groups if g.get("param_group") in ("weight", "muon") and g["params"]]
        return chosen[-1]

    # --- one epoch ---------------------------------------------------------------------

    def run_callbacks(self, event: str) -> None:
        """The places where Ultralytics' loop lets others in: labkit is the only one."""
        if event == "on_train_start":
            self.on_start(self)
        elif event == "on_train_epoch_start":
            self._seed_epoch()
            self.epoch_started = time.perf_counter()
        elif event == "on_train_batch_start" and self.should_stop():
            raise Stopped
        elif event == "on_fit_epoch_end":
            self.on_epoch(self)

    def epoch_seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self.epoch_started

    def mean_parts(self) -> dict[str, float]:
        """The parts of the loss, averaged over the epoch's batches."""
        return parts(self.tloss)

    def _seed_epoch(self) -> None:
        """Every epoch draws from a seed of its own: a resumed run draws what it would have."""
        seed = (self.spec.seed * 100_003 + self.epoch) % 2**32
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (Ultralytics draws from it)
        torch.manual_seed(seed)
        self.train_loader.generator.manual_seed(seed)
        if not self.train_loader.num_workers:
            self.train_loader.reset()  # a new iterator draws once more than one that goes on

    def validate(self) -> tuple[dict[str, float], float]:
        """mAP of the averaged weights; the fitness is mAP50-95, as Ultralytics has it."""
        sizes = torch.stack(torch._foreach_norm(list(self.ema.ema.parameters())))
        if not bool(torch.isfinite(sizes).all()):  # the last step's update was too large
            raise Diverged(self.step_number, math.nan, self.images)
        self.found = self.evaluate()
        return {}, self.found.map

    def evaluate(self) -> Metrics:
        """The averaged weights on the validation split."""
        return evaluate(self.detector(), self.checked_data, imgsz=self.spec.image_size)

    def detector(self) -> Detector:
        """The averaged weights as a detector: shared, not copied."""
        return Detector(
            weights=cast("Weights", None),  # they are on no disk yet
            model=self.ema.ema,
            task="detect",
            names=dict(self.checked_data.names),
            imgsz=self.spec.image_size,
        )

    # --- what is not wanted ------------------------------------------------------------

    def save_model(self) -> bool:
        """Nothing: `on_epoch` keeps checkpoints."""
        return False

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """No CSV."""

    def final_eval(self) -> None:
        """The best epoch was evaluated when it ended."""

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Nothing to recover: a step whose loss is no number was never made."""
        return False

    def close(self) -> None:
        """End the loader's processes."""
        if hasattr(self, "train_loader"):
            self.train_loader.close()

    # --- going on ----------------------------------------------------------------------

    def state(self, epoch: int) -> dict[str, Any]:
        """All that is needed to go on after an epoch: tensors and plain numbers."""
        return {
            "epoch": epoch,
            "step": self.step_number,
            "network": self.model.state_dict(),
            "average": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
        }

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Take up a `state`."""
        if ckpt is None or not ckpt["epoch"]:
            return
        self.model.load_state_dict(ckpt["network"])
        self.ema = ModelEMA(self.model)
        self.ema.ema.load_state_dict(ckpt["average"])
        self.ema.updates, self.step_number = ckpt["updates"], ckpt["step"]
        self.optimizer.load_state_dict(ckpt["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # A fused update goes through memory, and takes the same order for granted.
                    kept[name] = torch.empty_like(parameter).copy_(value)
        self.start_epoch = ckpt["epoch"]
        self.model.criterion = self.model.init_criterion()
        if hasattr(self.model.criterion, "update"):  # two heads, whose shares move by epoch
            self.model.criterion.updates = self.start_epoch - 1
            self.model.criterion.update()

    def used(self) -> Used:
        """The settings in force, read back."""
        return used(self, self.spec)


def parts(items: dict[str, Tensor]) -> dict[str, float]:
    """`box_loss` … as plain numbers under short names."""
    return {name.removesuffix("_loss"): float(value) for name, value in items.items()}
