"""What a detector finds on images."""

from __future__ import annotations

import contextlib
import io
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.core.errors import FileError, LabError
from labkit.core.threads import one_thread
from labkit.core.ultralytics import silent, ultralytics
from labkit.vision.detector import Detector, one_head
from labkit.vision.labels import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | os.PathLike[str] | bytes | np.ndarray | Image

AT_ONCE = 16  # images in one batch


@dataclass(frozen=True)
class Detections:
    """What was found on one image, the surest first.

    Attributes:
        boxes: (n, 4) float32: left, top, right, bottom in pixels of the image. A
            classifier's boxes are the whole image.
        scores: (n,) float32 in 0 to 1.
        classes: (n,) int64.
        names: of all classes, by number.
        seconds: how long the image took, its share of a batch.
        outlines: for segment and obb, the polygon (k, 2) of each object in pixels.
        keypoints: for pose, (n, k, 3) float32: x, y in pixels and how sure.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: dict[int, str]
    seconds: float = 0.0
    outlines: tuple[np.ndarray, ...] | None = None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Detections:
        """Those with a score of at least `confidence`."""
        keep = self.scores >= confidence
        outlines = self.outlines
        if outlines is not None:
            outlines = tuple(o for o, kept in zip(outlines, keep, strict=True) if kept)
        keypoints = None if self.keypoints is None else self.keypoints[keep]
        return Detections(
            self.boxes[keep],
            self.scores[keep],
            self.classes[keep],
            self.names,
            self.seconds,
            outlines,
            keypoints,
        )

    def rows(self) -> list[dict[str, object]]:
        """One table row for each."""
        return [
            {
                "class": self.names.get(int(k), str(k)),
                "score": float(score),
                "left": float(box[0]),
                "top": float(box[1]),
                "right": float(box[2]),
                "bottom": float(box[3]),
            }
            for box, score, k in zip(self.boxes, self.scores, self.classes, strict=True)
        ]


def predict(
    detector: Detector,
    images: Picture | Sequence[Picture],
    *,
    imgsz: int | None = None,
    confidence: float = 0.25,
    iou: float = 0.7,
    nms: bool = True,
    most: int = 300,
) -> list[Detections]:
    """Run a detector on images with Ultralytics' own pre- and post-processing.

    Args:
        detector: of any task.
        images: one or several: a path, the bytes of a file, a PIL image, or an array
            (H, W, 3) uint8 RGB.
        imgsz: the side in pixels of the square that images are fitted into; the
            detector's own by default.
        confidence: the lowest score that is reported.
        iou: two boxes of a class that overlap by more are one (non-maximum suppression).
        nms: which head of a network with two (see `labkit.vision.detector.one_head`).
        most: the largest number of detections on one image.

    Raises:
        FileError: an image that cannot be read.
        LabError: an image of another kind, or a size or threshold out of range.
    """
    single = isinstance(images, (str, os.PathLike, bytes)) or hasattr(images, "size")
    given: list[Any] = [images] if single else list(images)  # type: ignore[arg-type]
    read = [read_image(image) for image in given]
    size = imgsz or detector.imgsz
    if not 32 <= size <= 4096:
        raise LabError(f"imgsz={size} is out of range: choose 32 to 4096 pixels, such as 320.")
    if not 0 <= confidence <= 1:
        raise LabError(f"confidence={confidence} is not a share: choose 0 to 1, such as 0.25.")
    predictor = _predictor(detector, size, confidence, iou, nms, most)
    found: list[Detections] = []
    for start in range(0, len(read), AT_ONCE):
        part = read[start : start + AT_ONCE]
        began = time.perf_counter()
        # For a single image threads wait for each other more than they help.
        alone = one_thread() if len(part) == 1 else contextlib.nullcontext()
        with silent(), alone:
            results = predictor([np.ascontiguousarray(image[..., ::-1]) for image in part])
        seconds = (time.perf_counter() - began) / len(part)
        found += [_detections(result, detector, confidence, seconds) for result in results]
    return found


def read_image(source: Picture) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, upright as its camera says. Raises as `predict`."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8:
            raise LabError(
                f"An image is an array (height, width, 3) of uint8, not {source.shape} of "
                f"{source.dtype}."
            )
        return source
    where = "the uploaded file" if isinstance(source, bytes) else str(source)
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        # What Pillow would warn of, an image of enormous size, is not read.
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened: Any = source if isinstance(source, Image.Image) else open_image(file)
        upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith("I;16"):  # Pillow would clip: the high byte, as in training
            high = (np.asarray(upright) >> 8).astype(np.uint8)
            return np.repeat(high[..., None], 3, axis=2)
        return np.asarray(upright.convert("RGB"))
    except FileNotFoundError as error:
        raise FileError(f"There is no image {where}.") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise FileError(f"{where} has too many pixels: {str(error)[:60]}") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise FileError(
            f"{where} is not an image that can be read ({str(error)[:120]}): JPEG and PNG are."
        ) from error


def _predictor(
    detector: Detector, imgsz: int, confidence: float, iou: float, nms: bool, most: int
) -> Any:
    """Ultralytics' predictor for the task over the network as it is: not copied, not fused."""
    ultralytics()
    from ultralytics.models import yolo
    from ultralytics.nn.autobackend import AutoBackend

    kind = {
        "detect": yolo.detect.DetectionPredictor,
        "segment": yolo.segment.SegmentationPredictor,
        "classify": yolo.classify.ClassificationPredictor,
        "pose": yolo.pose.PosePredictor,
        "obb": yolo.obb.OBBPredictor,
    }[detector.task]
    predictor: Any = kind(
        overrides={
            "imgsz": imgsz,
            "conf": confidence,
            "iou": iou,
            "max_det": most,
            "rect": False,
            "verbose": False,
            "save": False,
        }
    )
    network = one_head(detector.model, nms)
    device = next(detector.model.parameters()).device
    predictor.model = AutoBackend(model=network, device=device, fuse=False, verbose=False)
    predictor.device, predictor.done_warmup = device, True
    return predictor


def _detections(result: Any, detector: Detector, confidence: float, seconds: float) -> Detections:
    names = detector.names
    common: dict[str, Any] = {"names": names, "seconds": seconds}
    if result.probs is not None:
        order = np.asarray(result.probs.top5[: len(names)], np.int64)
        scores = result.probs.data.cpu().float().numpy()[order]
        order, scores = order[scores >= confidence], scores[scores >= confidence]
        height, width = result.orig_shape
        whole = np.tile(np.array([0, 0, width, height], np.float32), (len(order), 1))
        return Detections(whole, scores, order, **common)
    found = result.obb if result.obb is not None else result.boxes
    outlines = keypoints = None
    if result.obb is not None:
        outlines = tuple(result.obb.xyxyxyxy.cpu().float().numpy())
    elif result.masks is not None:
        outlines = tuple(np.asarray(polygon, np.float32) for polygon in result.masks.xy)
    elif detector.task == "segment":
        outlines = ()
    if result.keypoints is not None:
        keypoints = result.keypoints.data.cpu().float().numpy()
    return Detections(
        boxes=found.xyxy.cpu().float().numpy(),
        scores=found.conf.cpu().float().numpy(),
        classes=found.cls.cpu().numpy().astype(np.int64),
        outlines=outlines,
        keypoints=keypoints,
        **common,
    )


def photographs() -> dict[str, Path]:
    """The photographs that come with Ultralytics, by name."""
    ultralytics()
    from ultralytics.utils import ASSETS

    return {name: Path(ASSETS) / name for name in ("bus.jpg", "zidane.jpg")}
