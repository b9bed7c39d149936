"""One image and its label file: read, and checked for what would spoil training."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from labkit.vision.problems import Problem

if TYPE_CHECKING:
    from PIL import Image

# As `ultralytics.data.utils.IMG_FORMATS`: the endings of what counts as an image.
IMAGES = frozenset(
    "avif bmp dng heic heif jp2 jpeg jpg mpo png tif tiff webp".split()  # noqa: SIM905
)
TOLERANCE = 0.01  # of the image's side: by so much a label may lie outside, as in Ultralytics
SMALLEST = 10  # pixels, as in Ultralytics
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
OPENCV_READS_SOME = ("JPEG2000", "TIFF")  # of which Pillow reads kinds that OpenCV does not
HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


@dataclass(frozen=True)
class LabelledImage:
    """An image file and what is on it.

    Attributes:
        path: of the image.
        height, width: pixels, upright (as its EXIF orientation says).
        classes: (n,) int64.
        boxes: (n, 4) float32, centre x, centre y, width, height as shares of the image.
        polygons: outlines of shape (k, 2) as shares of the image, where labels are outlines.
    """

    path: Path
    height: int
    width: int
    classes: np.ndarray
    boxes: np.ndarray
    polygons: tuple[np.ndarray, ...] = ()

    @property
    def corners(self) -> np.ndarray:
        """The boxes as left, top, right, bottom in pixels, (n, 4) float32."""
        half = self.boxes[:, 2:] / 2
        shares = np.hstack([self.boxes[:, :2] - half, self.boxes[:, :2] + half])
        return (shares * ([self.width, self.height] * 2)).astype(np.float32)


@dataclass
class Examined:
    """What came of looking at one image and its labels.

    Attributes:
        image: the two together; None if one of them cannot be used.
        problems: what is wrong.
        unlabelled: there is no label file: the image counts as background.
        repeated: labels that are there twice; one of each is kept.
        beyond: boxes that reach outside of the image.
    """

    image: LabelledImage | None = None
    problems: list[Problem] = field(default_factory=list)
    unlabelled: bool = False
    repeated: int = 0
    beyond: int = 0


def label_path(image: Path) -> Path:
    """The label file of an image: `labels` for the last folder `images`, and `.txt`."""
    start, folder, end = os.fspath(image).rpartition(f"{os.sep}images{os.sep}")
    path = f"{start}{os.sep}labels{os.sep}{end}" if folder else end
    return Path(path).with_suffix(".txt")


def examine(image: Path, root: Path, classes: int, keypoints: int) -> Examined:
    """Read an image and its labels, and check both.

    Args:
        image: the file.
        root: files below it are named relative to it.
        classes: how many there are; 0 where that is not known.
        keypoints: numbers after the box in each label of a pose data set.
    """
    found = Examined()
    size = _size(image, root, found)
    labels = label_path(image)
    try:
        text = labels.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        text, found.unlabelled = "", True
    except UnicodeDecodeError:
        found.problems.append(Problem("unreadable labels", shown(labels, root), "is no text file"))
        return found
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        found.problems.append(Problem("unreadable labels", shown(labels, root), what))
        return found
    wrong = len(found.problems)
    numbers, polygons = _labels(text, shown(labels, root), classes, keypoints, found)
    if size is None or len(found.problems) > wrong:
        return found
    numbers, polygons = _once(numbers, polygons, found)
    boxes = numbers[:, 1:].astype(np.float32)
    half = numbers[:, 3:] / 2
    outside = np.maximum(half - numbers[:, 1:3], numbers[:, 1:3] + half - 1).max(1, initial=-1)
    found.beyond = int(np.count_nonzero(outside > TOLERANCE))
    found.image = LabelledImage(
        image, *size, numbers[:, 0].astype(np.int64), boxes, tuple(polygons)
    )
    return found


def shown(path: Path, root: Path) -> str:
    """A path as messages name it."""
    return os.fspath(path.relative_to(root) if path.is_relative_to(root) else path)


def _size(image: Path, root: Path, found: Examined) -> tuple[int, int] | None:
    """Height and width of an image that can be decoded to its end, upright."""
    from PIL import UnidentifiedImageError

    def wrong(what: str) -> None:
        found.problems.append(Problem("unusable image", shown(image, root), what))

    try:
        picture = open_image(image)
        if picture.format == "PNG":
            with picture:
                picture.verify()  # a checksum of each part; nothing can be read after it
            picture = open_image(image)
        with picture:
            width, height = picture.size
            picture.draft(picture.mode, (1, 1))  # an eighth of a JPEG's side, all of its data
            picture.load()
            if picture.getexif().get(274) in TURNED:
                width, height = height, width
        if picture.format in OPENCV_READS_SOME and not _trainable(image):
            wrong(
                f"is {picture.format} of a kind that training cannot read (mode {picture.mode}): "
                "save it as PNG or JPEG"
            )
            return None
    except FileNotFoundError:
        wrong("is not there")
    except UnidentifiedImageError:
        wrong(_unidentified(image))
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        wrong(f"is damaged or cut short ({error})")
    else:
        if min(height, width) >= SMALLEST:
            return height, width
        wrong(f"has {width}×{height} pixels; the least is {SMALLEST}×{SMALLEST}")
    return None


def _trainable(image: Path) -> bool:
    """Whether the reader that Ultralytics trains with, OpenCV, reads the file too."""
    from labkit.core.ultralytics import ultralytics

    ultralytics()
    from ultralytics.utils.patches import imread

    return imread(str(image)) is not None


def _unidentified(image: Path) -> str:
    """Why Pillow does not know what the file is."""
    with image.open("rb") as file:
        begins = file.read(12)
    if not begins:
        return "is empty"
    if begins[4:8] == b"ftyp" and begins[8:12] in HEIF:
        return "is HEIF, which cannot be read here: pip install pi-heif, or save it as JPEG"
    return "is no image that Pillow reads, or its beginning is damaged"


def open_image(source: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Open an image by Pillow's own function; HEIF if pi-heif is installed.

    Ultralytics replaces it by one that, if a file is no image, would install a reader of HEIF
    images and try again.
    """
    from PIL import Image, UnidentifiedImageError

    replaced = sys.modules.get("ultralytics.utils.patches")
    plain: Any = getattr(replaced, "_image_open", Image.open)
    try:
        opened: Image.Image = plain(source)
    except UnidentifiedImageError:
        if "HEIF" in Image.OPEN or find_spec("pi_heif") is None:
            raise
        import_module("pi_heif").register_heif_opener()
        if not isinstance(source, str | os.PathLike):
            source.seek(0)
        opened = plain(source)
    return opened


def _labels(
    text: str, where: str, classes: int, keypoints: int, found: Examined
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Class, centre and size of each label, (n, 5) float64, and outlines where it has them.

    As Ultralytics reads them for detection: five columns are a box; with the keypoints of a
    pose data set after it, still the box; more are an outline, of which the box is taken.
    """
    numbers, lines, polygons, problems = [], [], [], []
    for line, words in enumerate(map(str.split, text.splitlines()), 1):
        if not words:
            continue
        if len(words) == 5 + keypoints:
            words = words[:5]
        problem = _malformed(words, where, line)
        if problem:
            problems.append(problem)
            continue
        row = np.array(words, np.float64)
        if len(row) > 5:
            corners = row[1:].reshape(-1, 2)
            polygons.append(corners.astype(np.float32))
            low, high = corners.min(0), corners.max(0)
            row = np.concatenate([row[:1], (low + high) / 2, high - low])
        numbers.append(row)
        lines.append(line)
    labels = np.array(numbers, np.float64).reshape(-1, 5)
    problems += _mistakes(labels, lines, where, classes)
    found.problems += sorted(problems, key=lambda problem: problem.line or 0)
    if 0 < len(polygons) < len(labels):
        what = f"outlines ({len(polygons)}) and boxes ({len(labels) - len(polygons)}) are mixed"
        found.problems.append(Problem("outlines mixed with boxes", where, what))
    return labels, polygons


def _malformed(words: list[str], where: str, line: int) -> Problem | None:
    """What is wrong with a label that does not have the right number of columns."""
    for word in words:
        try:
            float(word)
        except ValueError:
            comma = "; separate by spaces, not commas" if "," in word else ""
            return Problem("not a number", where, f"{word[:40]!r} is not a number{comma}", line)
    if len(words) == 5 or (len(words) > 6 and len(words) % 2):
        return None
    what = (
        f"{len(words)} columns; a label is class, centre x, centre y, width and height, or class "
        "and the x and y of three corners or more"
    )
    return Problem("wrong number of columns", where, what, line)


def _mistakes(
    numbers: np.ndarray, lines: Sequence[int], where: str, classes: int
) -> Iterator[Problem]:
    """What is wrong with labels that are numbers, line by line."""
    kinds, shares, sizes = numbers[:, 0], numbers[:, 1:], numbers[:, 3:]
    infinite = ~np.isfinite(numbers).all(1)
    with np.errstate(invalid="ignore"):
        fraction = kinds != np.floor(kinds)
        unnamed = (kinds < 0) | ((kinds >= classes) & (classes > 0))
        outside = np.any((shares < -TOLERANCE) | (shares > 1 + TOLERANCE), axis=1)
        flat = np.any(sizes <= 0, axis=1)
    for i in np.flatnonzero(infinite | fraction | unnamed | outside | flat).tolist():
        line, row = lines[i], " ".join(f"{number:g}" for number in numbers[i])
        if infinite[i]:
            what = f"{row}: each must be a finite number"
            yield Problem("not a finite number", where, what, line)
            continue
        if fraction[i] or unnamed[i]:
            known = f"`names:` has 0 to {classes - 1}" if classes else "classes are 0, 1, 2, …"
            what = f"class {kinds[i]:.7g}, but {known}"
            yield Problem("class without a name", where, what, line)
        if outside[i]:
            pixels = "; these look like pixels" if shares[i].max() > 2 else ""
            what = f"{row}: all but the class must be shares of the image, from 0 to 1{pixels}"
            yield Problem("label out of range", where, what, line)
        elif flat[i]:
            what = f"a box of {sizes[i, 0]:g} × {sizes[i, 1]:g} has no area"
            yield Problem("box of zero size", where, what, line)


def _once(
    numbers: np.ndarray, polygons: list[np.ndarray], found: Examined
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Each label once, in the order of the file."""
    if polygons:
        rows = [(row[0], corners.tobytes()) for row, corners in zip(numbers, polygons, strict=True)]
        first = sorted({row: i for i, row in reversed(list(enumerate(rows)))}.values())
    else:
        first = sorted(np.unique(numbers, axis=0, return_index=True)[1])
    found.repeated = len(numbers) - len(first)
    return numbers[first], [polygons[i] for i in first] if polygons else []
