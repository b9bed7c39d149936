"""Drawn images with their boxes, and a folder of them in YOLO format."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

JPEG_QUALITY = 95
ABANDONED_S = 3600.0  # nothing takes that long to draw
SPLITS = {"train": 0, "val": 1, "test": 2}  # each draws from random numbers of its own


@dataclass(frozen=True)
class Drawn:
    """An image and what is on it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        boxes: (n, 4) float32, left, top, right, bottom in pixels.
        classes: (n,) int64.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray

    def labels(self) -> str:
        """One line per box: class, then centre x, centre y, width, height as shares.

        See "Detection datasets" in the documentation of Ultralytics.
        """
        height, width = self.image.shape[:2]
        left, top, right, bottom = (self.boxes / [width, height, width, height]).T
        rows = zip(
            self.classes,
            (left + right) / 2,
            (top + bottom) / 2,
            right - left,
            bottom - top,
            strict=True,
        )
        return "".join("{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(*row) for row in rows)


Draw = Callable[[np.random.Generator, int], Drawn]


def draw_one(draw: Draw, seed: int, split: str, index: int, size: int) -> Drawn:
    """The image number `index` of a split: it depends on nothing else, not even their count."""
    return draw(np.random.default_rng([seed, SPLITS[split], index]), size)


def export(
    draw: Draw,
    names: Sequence[str],
    folder: str | os.PathLike[str],
    counts: Mapping[str, int],
    size: int = 320,
    seed: int = 0,
) -> Path:
    """Draw a data set in YOLO format, and return its `data.yaml`.

    The folder appears whole or not at all; where it is there already, it is left as it is.

    Args:
        draw: draws one image with a generator, `size` pixels high and wide.
        names: of the classes.
        folder: to be made.
        counts: images per split, as {"train": 64, "val": 32}.
        size: pixels.
        seed: other seeds give other images.
    """
    folder = Path(folder)
    if (folder / "data.yaml").exists():
        return folder / "data.yaml"
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split, count in counts.items():
            for kind in ("images", "labels"):
                (making / kind / split).mkdir(parents=True)
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                files = [
                    threads.submit(_write, making, split, index, draw, seed, size)
                    for index in range(count)
                ]
                for file in files:
                    file.result()
        about = {split: f"images/{split}" for split in counts} | {"names": dict(enumerate(names))}
        (making / "data.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:
            if not (folder / "data.yaml").exists():  # else somebody else was faster
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder / "data.yaml"


def _remove_abandoned(folder: Path) -> None:
    """Clear what drawings of this set left behind that were killed, and only those."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        with contextlib.suppress(FileNotFoundError):  # its drawing has just ended
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _write(folder: Path, split: str, index: int, draw: Draw, seed: int, size: int) -> None:
    drawn = draw_one(draw, seed, split, index, size)
    bgr, options = drawn.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    (folder / "images" / split / f"{index:05}.jpg").write_bytes(
        cv2.imencode(".jpg", bgr, options)[1].tobytes()
    )
    (folder / "labels" / split / f"{index:05}.txt").write_text(drawn.labels())
