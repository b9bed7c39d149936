"""How well a detector finds what is labelled: mean average precision, as Ultralytics counts it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.core.errors import FileError, LabError
from labkit.core.threads import one_thread
from labkit.core.ultralytics import silent, ultralytics
from labkit.vision.detector import Detector, one_head

if TYPE_CHECKING:
    from labkit.vision.data import DataSet
    from labkit.vision.labels import LabelledImage

BATCH = 5  # images in one forward
KEPT_BYTES = 400e6  # a set of images larger than this is read anew each time
KEPT_SETS = 4
FEW = 2000  # candidates that are looked at first, of tens of thousands


@dataclass(frozen=True)
class Metrics:
    """What an evaluation found. All figures are shares in 0 to 1.

    Attributes:
        map50: mean over the classes of the average precision, where a box counts as found
            that overlaps the labelled one by half or more (IoU of at least 0.5).
        map: the same, averaged over IoU thresholds 0.5, 0.55, … 0.95.
        precision: share of the reported boxes that are right, mean over the classes, at the
            confidence where F1 is highest.
        recall: share of the labelled boxes that were found, at the same confidence.
        per_class: the same for each class that occurs, by its name.
        images: how many were looked at.
        seconds: how long it took.
    """

    map50: float
    map: float
    precision: float
    recall: float
    per_class: dict[str, dict[str, float]]
    images: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, float]:
        """The four figures as a table row."""
        return {
            "mAP50": self.map50,
            "mAP50-95": self.map,
            "precision": self.precision,
            "recall": self.recall,
        }

    def rows(self) -> list[dict[str, object]]:
        """One table row per class."""
        return [{"class": name, **figures} for name, figures in self.per_class.items()]


@dataclass(frozen=True)
class Samples:
    """Labelled images, fitted into squares of one size.

    Attributes:
        files: the images.
        imgsz: the side of the squares in pixels.
        classes: of the labelled boxes of each image, (n,) float32.
        boxes: (n, 4) float32 each: left, top, right, bottom in pixels of the square.
    """

    files: tuple[Path, ...]
    imgsz: int
    classes: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    _images: Tensor | None

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, size: int = BATCH) -> Iterator[tuple[int, Tensor]]:
        """Images (b, 3, imgsz, imgsz) uint8 RGB, channels innermost, and the first's number."""
        for first in range(0, len(self), size):
            if self._images is not None:
                yield first, self._images[first : first + size]
            else:
                files = self.files[first : first + size]
                yield first, _stack([_fit(file, self.imgsz)[0] for file in files])


def samples(
    data: DataSet, *, split: str = "val", limit: int | None = None, imgsz: int = 320
) -> Samples:
    """The images of a split and their labels, read and fitted once, then kept in memory.

    Args:
        data: from `labkit.vision.open_data`.
        split: val or train.
        limit: the most images; of more, evenly spaced ones are taken.
        imgsz: the side of the square in pixels, a multiple of 32.

    Raises:
        LabError: an unknown split or a size or number that is out of range.
        FileError: an image that cannot be read.
    """
    if split not in ("train", "val"):
        raise LabError(f"split={split!r} is not known: choose train or val.")
    if imgsz % 32 or not 32 <= imgsz <= 4096:
        raise LabError(f"imgsz={imgsz} is not a multiple of 32 from 32 to 4096, such as 320.")
    known = data.labelled(split)
    if limit is not None and limit < len(known):
        if limit < 1:
            raise LabError(f"limit={limit} leaves no image: choose 1 or more.")
        known = [known[k * len(known) // limit] for k in range(limit)]
    with _reading:  # two panels may ask at once
        key = (data.sha256, split, len(known), imgsz)
        if key not in _kept:
            while len(_kept) >= KEPT_SETS:
                del _kept[next(iter(_kept))]
            _kept[key] = _read(known, imgsz)
        return _kept[key]


_kept: dict[tuple[str, str, int, int], Samples] = {}
_reading = threading.Lock()


def _read(labelled: Sequence[LabelledImage], imgsz: int) -> Samples:
    ultralytics()
    keep = len(labelled) * 3 * imgsz**2 <= KEPT_BYTES
    images, boxes = [], []
    for one in labelled:
        image, (width, height), (left, top) = _fit(one.path, imgsz)
        if keep:
            images.append(image)
        shares = torch.from_numpy(np.asarray(one.boxes, np.float32))
        centre, half = shares[:, :2], shares[:, 2:] / 2
        corners = torch.cat([centre - half, centre + half], 1)
        corners = corners * torch.tensor([width, height, width, height])
        boxes.append(corners + torch.tensor([left, top, left, top]))
    return Samples(
        files=tuple(one.path for one in labelled),
        imgsz=imgsz,
        classes=tuple(torch.from_numpy(np.asarray(one.classes, np.float32)) for one in labelled),
        boxes=tuple(boxes),
        _images=_stack(images) if keep else None,
    )


def _fit(file: Path, imgsz: int) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """An image in a grey square, its own size (width, height) there, and its left and top.

    The arithmetic is that of Ultralytics' `BaseDataset.load_image` and `LetterBox`.
    """
    import cv2
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.patches import imread

    image = imread(str(file))
    if image is None:
        raise FileError(f"{file} is not an image that can be read.")
    height, width = image.shape[:2]
    ratio = imgsz / max(height, width)
    if ratio != 1:
        width, height = (min(math.ceil(side * ratio), imgsz) for side in (width, height))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    letterbox = LetterBox((imgsz, imgsz), scaleup=False)
    place = letterbox.get_params({"img": image})
    square = letterbox.apply_image({"img": image}, place)["img"]
    return square[..., ::-1], (width, height), (place["left"], place["top"])


def _stack(images: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def evaluate(
    detector: Detector,
    data: DataSet,
    split: str = "val",
    limit: int | None = None,
    imgsz: int | None = None,
    *,
    confidence: float = 0.001,
    iou: float = 0.7,
    nms: bool = True,
    most: int = 300,
) -> Metrics:
    """Compare what a detector finds with the labels; nothing is written.

    The figures are those of Ultralytics' `DetectionValidator` with `rect=False`. Images are
    read once and kept, so a second evaluation costs little more than running the network.

    Args:
        detector: of task detect.
        data: from `labkit.vision.open_data`, with the classes that the detector knows.
        split, limit, imgsz: see `samples`; `imgsz` is the detector's own by default.
        confidence: detections below count nothing. The area under a precision-recall curve
            needs nearly all of them.
        iou: two boxes of a class that overlap by more are one (non-maximum suppression).
        nms: which head of a network with two (see `labkit.vision.detector.one_head`).
        most: the largest number of detections on one image.

    Raises:
        LabError: another task, other classes, or as `samples`.
        FileError: an image that cannot be read.
    """
    if detector.task != "detect":
        raise LabError(f"mAP of boxes is for task detect; {detector.name} is for {detector.task}.")
    same_classes(detector, data)
    began = time.perf_counter()
    known = samples(data, split=split, limit=limit, imgsz=imgsz or detector.imgsz)
    network = one_head(detector.model, nms)

    def judge(first: int, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        found = run(network, images, confidence=confidence, iou=iou, most=most)
        return [
            (match(rows, known.classes[k], known.boxes[k]), rows[:, 4], rows[:, 5])
            for k, rows in enumerate(found, first)
        ]

    with _evaluating(network), silent():
        judged = [one for batch in _side_by_side(judge, known, network) for one in batch]
    right, scores, kinds = (torch.cat(part).numpy() for part in zip(*judged, strict=True))
    wanted = torch.cat(known.classes).numpy()
    metrics = summarize(right, scores, kinds, wanted, detector.names)
    return Metrics(**metrics, images=len(known), seconds=time.perf_counter() - began)


Judge = Callable[[int, Tensor], list[tuple[Tensor, Tensor, Tensor]]]


def _side_by_side(
    judge: Judge, known: Samples, network: nn.Module
) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """Judge batches in their order, as many at once as there are cores for.

    Each is computed on one thread. Two threads on one batch wait for each other after each
    of hundreds of small operations: beside other work on two cores that took four times as
    long.
    """
    import torchvision  # noqa: F401  (Ultralytics uses its suppression where it is imported)

    workers = torch.get_num_threads()
    if next(network.parameters()).device.type != "cpu":
        with torch.inference_mode():
            yield from (judge(*batch) for batch in known.batches())
        return

    def work(batch: tuple[int, Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        with one_thread(), torch.inference_mode():
            return judge(*batch)

    with ThreadPoolExecutor(workers, "labkit-evaluate") as pool:
        waiting: deque[Future[list[tuple[Tensor, Tensor, Tensor]]]] = deque()
        for batch in known.batches():
            waiting.append(pool.submit(work, batch))
            if len(waiting) > workers:  # streamed images must not pile up
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def run(
    network: nn.Module, images: Tensor, *, confidence: float, iou: float, most: int
) -> list[Tensor]:
    """Rows (n, 6) of left, top, right, bottom, score, class for each of (b, 3, s, s) uint8."""
    from ultralytics.utils.nms import non_max_suppression

    device = next(network.parameters()).device
    outputs = network(images.to(device).float() / 255)
    outputs = outputs[0] if isinstance(outputs, (list, tuple)) else outputs

    def suppress(outputs: Tensor, **more: Any) -> list[Tensor]:
        found: list[Tensor] = non_max_suppression(
            outputs,
            confidence,
            iou,
            multi_label=True,
            max_det=most,
            end2end=getattr(network, "end2end", False),
            **more,
        )
        return found

    # What is less sure never suppresses what is surer. So where the surest few give `most`
    # boxes, the rest (tens of thousands, in a damaged network) need not be looked at.
    found = suppress(outputs, max_nms=FEW)
    if getattr(network, "end2end", False):
        return [rows.cpu() for rows in found]
    candidates = (outputs[:, 4:] > confidence).flatten(1).sum(1).tolist()
    short = [k for k, rows in enumerate(found) if len(rows) < most and candidates[k] > FEW]
    for k, rows in zip(short, suppress(outputs[short]) if short else [], strict=True):
        found[k] = rows
    return [rows.cpu() for rows in found]


def match(found: Tensor, classes: Tensor, boxes: Tensor) -> Tensor:
    """(n, 10) bool: whether each detection is right at IoU 0.5, 0.55, … 0.95."""
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import box_iou

    thresholds = torch.linspace(0.5, 0.95, 10)
    if not len(found) or not len(classes):
        return torch.zeros(len(found), len(thresholds), dtype=torch.bool)
    # It needs nothing of a validator but its thresholds.
    matcher: Any = SimpleNamespace(iouv=thresholds)
    matched: Tensor = BaseValidator.match_predictions(
        matcher, found[:, 5], classes, box_iou(boxes, found[:, :4])
    )
    return matched


def summarize(
    right: np.ndarray,
    scores: np.ndarray,
    kinds: np.ndarray,
    wanted: np.ndarray,
    names: dict[int, str],
) -> dict[str, Any]:
    """The figures of `Metrics` from all detections and all labels.

    Args:
        right: (n, 10) bool, from matching.
        scores, kinds: (n,) of the detections.
        wanted: (m,) the classes of the labelled boxes.
        names: of the classes, by number.
    """
    from ultralytics.utils.metrics import ap_per_class

    if not len(wanted):
        nothing = math.nan
        return dict.fromkeys(("map50", "map", "precision", "recall"), nothing) | {"per_class": {}}
    _, _, precision, recall, _, ap, classes, *_ = ap_per_class(right, scores, kinds, wanted)
    counts = np.bincount(wanted.astype(int))
    per_class = {
        names.get(int(k), str(k)): {
            "boxes": int(counts[k]),
            "mAP50": float(ap[i, 0]),
            "mAP50-95": float(ap[i].mean()),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
        }
        for i, k in enumerate(classes)
    }
    return {
        "map50": float(ap[:, 0].mean()),
        "map": float(ap.mean()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "per_class": per_class,
    }


def same_classes(detector: Detector, data: DataSet) -> None:
    """Refuse to compare cats with class 0 of something else."""
    mine, theirs = list(detector.names.values()), list(data.names.values())
    numbers = [str(k) for k in range(len(mine))]
    if len(mine) != len(theirs) or (numbers not in (mine, theirs) and mine != theirs):
        raise LabError(
            f"{detector.name} knows {len(mine)} classes ({', '.join(mine[:4])}, …), and "
            f"{data.name} is labelled with {len(theirs)} ({', '.join(theirs[:4])}, …): they "
            "must be the same. Fine-tune it on this data set first."
        )


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode meanwhile: a trainer may hand over what it is training."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
