"""Data for detectors: drawn by labkit, in a folder of yours, or fetched by Ultralytics."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from labkit.core.errors import FileError, LabError, misnamed
from labkit.vision import data_yaml
from labkit.vision.labels import IMAGES, LabelledImage, examine, label_path, shown
from labkit.vision.problems import Problem, Problems
from labkit.vision.synthetic import sets

DRAWN = "drawn by labkit"
YOURS = "yours"
FETCHED = "fetched by Ultralytics"


@dataclass(frozen=True)
class DataSet:
    """Images with boxes, found and checked.

    Attributes:
        name: as a reader knows it.
        yaml: the file that describes it.
        names: class number -> name.
        train, val: the images, in the order in which Ultralytics takes them.
        origin: "drawn by labkit", "yours" or "fetched by Ultralytics".
        remarks: what is no mistake, but worth knowing, as images without a label file.
    """

    name: str
    yaml: Path
    names: dict[int, str]
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    origin: str
    remarks: tuple[str, ...] = ()
    _labelled: Mapping[Path, LabelledImage] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return (
            f"{self.name}: {len(self.train)} training and {len(self.val)} validation images of "
            f"{', '.join(self.names.values())}; {self.origin}"
        )

    def labelled(self, split: str) -> list[LabelledImage]:
        """The images of "train" or "val" with their boxes."""
        return [self._labelled[path] for path in getattr(self, split)]

    def config(self) -> dict[str, Any]:
        """What Ultralytics' `check_det_dataset` gives, with the images that were checked.

        "train" and "val" are lists of image files, nothing is left to look up or to fetch.
        """
        return {
            "yaml_file": str(self.yaml),
            "path": self.yaml.parent,
            "train": [str(path) for path in self.train],
            "val": [str(path) for path in self.val],
            "names": dict(self.names),
            "nc": len(self.names),
            "channels": 3,
        }

    def records(self, split: str) -> list[dict[str, Any]]:
        """The labels of a split as `YOLODataset.get_labels` gives them.

        A data set class that returns these reads no label file, leaves no `labels.cache`
        among the user's files and rewrites none of their images, as Ultralytics' own scan does.
        """
        return [
            {
                "im_file": str(image.path),
                "shape": (image.height, image.width),
                "cls": image.classes[:, None].astype("float32"),
                "bboxes": image.boxes.copy(),
                "segments": [polygon.copy() for polygon in image.polygons],
                "keypoints": None,
                "normalized": True,
                "bbox_format": "xywh",
            }
            for image in self.labelled(split)
        ]

    @cached_property
    def sha256(self) -> str:
        """A hash of the content: class names, label files, image files.

        It is over the names as JSON, and for each split over the sorted pairs of hashes of an
        image file and its label file (an empty one where there is none). So it is the same
        wherever the files lie and however they are called.
        """
        total = hashlib.sha256(json.dumps(list(self.names.values())).encode())
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for split in data_yaml.SPLITS:
                pairs = sorted(threads.map(_hash_of_pair, getattr(self, split)))
                total.update(f"{split} {len(pairs)}".encode() + b"".join(pairs))
        return total.hexdigest()


def open_data(x: str | os.PathLike[str] | DataSet) -> DataSet:
    """Find a data set and check all of it; nothing of it is written to or run.

    Args:
        x: "cells", "parts", "fruit" or "scenes", which labkit draws; the path of a YOLO
            `data.yaml`, or of the folder it is in; or the name of a data set that Ultralytics
            knows ("coco8.yaml"), which it fetches if need be.

    Raises:
        FileError: there is no such data set, or it cannot be fetched.
        LabError: something is wrong with it: the first problems with file and line, and the
            number of all.
    """
    if isinstance(x, DataSet):
        return x
    name = os.fspath(x)
    if name in sets.SETS:
        return _drawn(name)
    path = Path(name).expanduser()
    if path.is_dir():
        path = _yaml_in(path)
    if path.is_file():
        return _checked(path.absolute(), _name(path), YOURS)
    shipped = data_yaml.shipped(name)
    if shipped is None:
        raise FileError(_not_found(name))
    return _checked(shipped, shipped.stem, FETCHED)


def _drawn(name: str) -> DataSet:
    path = sets.draw_set(name)
    try:
        return _checked(path, name, DRAWN)
    except LabError as error:
        raise FileError(f"{error}\nDelete {path.parent}, and it will be drawn again") from None


def _checked(path: Path, name: str, origin: str) -> DataSet:
    problems = Problems()
    described = data_yaml.read(path, problems, _roots)
    if described.missing and described.fetched and not problems:
        _fetch(path)
        origin, problems = FETCHED, Problems()
        described = data_yaml.read(path, problems, _roots)
    problems.add(*described.missing)
    images = {split: _images(described, split, problems) for split in data_yaml.SPLITS}
    labelled, remarks = _labelled(images, described, problems)
    if problems:
        many = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise LabError(f"data set {name} has {many} ({path}):\n{problems}")
    return DataSet(
        name,
        path,
        described.names,
        images["train"],
        images["val"],
        origin,
        tuple(remarks),
        labelled,
    )


def _labelled(
    images: Mapping[str, Sequence[Path]], described: data_yaml.Described, problems: Problems
) -> tuple[dict[Path, LabelledImage], list[str]]:
    """All images with their labels, and remarks; what is wrong goes into `problems`."""
    look = partial(
        examine,
        root=described.root,
        classes=len(described.names),
        keypoints=described.keypoints,
    )
    every = list(dict.fromkeys(path for paths in images.values() for path in paths))
    labelled: dict[Path, LabelledImage] = {}
    counts: Counter[str] = Counter()
    unlabelled: set[Path] = set()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for path, found in zip(every, threads.map(look, every), strict=True):
            problems.add(*found.problems)
            counts.update(repeated=found.repeated, beyond=found.beyond)
            if found.unlabelled:
                unlabelled.add(path)
            if found.image is not None:
                labelled[path] = found.image
    for split, paths in images.items():
        bare = [path for path in paths if path in unlabelled]
        if paths and len(bare) == len(paths):
            what = (
                f"no image of `{split}:` has a label file; that of "
                f"{shown(bare[0], described.root)} would be "
                f"{shown(label_path(bare[0]), described.root)}"
            )
            problems.add(Problem("missing labels", described.path.name, what))
        elif not problems and not any(len(labelled[path].classes) for path in paths):
            what = f"all label files of `{split}:` are empty"
            problems.add(Problem("missing labels", described.path.name, what))
    return labelled, list(_remarks(counts, len(unlabelled), images))


def _remarks(
    counts: Mapping[str, int], unlabelled: int, images: Mapping[str, Sequence[Path]]
) -> Iterator[str]:
    if unlabelled:
        yield f"images without a label file, which count as background: {unlabelled}"
    if counts["repeated"]:
        yield f"labels that are there more than once, and are used once: {counts['repeated']}"
    if counts["beyond"]:
        yield f"boxes that reach outside of their image: {counts['beyond']}"
    if both := len(set(images["train"]) & set(images["val"])):
        yield f"images that are trained on and validated with: {both}"


def _images(described: data_yaml.Described, split: str, problems: Problems) -> tuple[Path, ...]:
    """The image files of a split, sorted as Ultralytics sorts them."""
    found: list[str] = []
    for source in described.splits.get(split, ()):
        if source.is_dir():
            files = list(_files_below(source))
            problems.add(*_orphans(source, files, described.root))
            found += files
        else:
            found += _listed(source, described, problems)
    images = sorted({file for file in found if _is_image(file)})
    problems.add(*_twins(images, described.root))
    if not images and described.splits.get(split):
        places = ", ".join(map(str, described.splits[split]))
        what = f"`{split}:` has no images: there are none in {places}"
        problems.add(Problem("missing images", described.path.name, what))
    return tuple(map(Path, images))


def _is_image(file: str) -> bool:
    return file.rpartition(".")[-1].lower() in IMAGES


def _files_below(folder: Path) -> Iterator[str]:
    """All files that are not hidden; a link that leads back up is followed once."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(place, name) for name in files if not name.startswith("."))


def _listed(source: Path, described: data_yaml.Described, problems: Problems) -> Iterator[str]:
    """The images that a text file lists, relative to it or to the folder of the data set."""
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        what = "is neither a folder of images nor a text file that lists some"
        problems.add(Problem("missing images", shown(source, described.root), what))
        return
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if not entry:
            continue
        places = [root / entry for root in (source.parent, described.root, Path.cwd())]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            what = f"{places[0]} is not there"
            problems.add(Problem("missing images", shown(source, described.root), what, number))
        else:
            yield os.path.abspath(place)


def _orphans(folder: Path, files: list[str], root: Path) -> Iterator[Problem]:
    """Label files below a folder of labels whose images are missing."""
    labels = label_path(folder / "any.jpg").parent
    if labels == folder or not labels.is_dir():
        return
    known = {label_path(Path(file)) for file in files if _is_image(file)}
    for file in sorted(_files_below(labels)):
        path = Path(file)
        if path.suffix == ".txt" and path.name != "classes.txt" and path not in known:
            image = folder / path.relative_to(labels).with_suffix("")
            what = f"is not there, but its labels are, in {shown(path, root)}"
            yield Problem("missing images", f"{shown(image, root)}.*", what)


def _twins(images: list[str], root: Path) -> Iterator[Problem]:
    """Images that share one label file."""
    first: dict[Path, str] = {}
    for image in images:
        labels = label_path(Path(image))
        if labels in first:
            other = Path(first[labels]).name
            what = f"and {other} share one label file, {shown(labels, root)}"
            yield Problem("images that share labels", shown(Path(image), root), what)
        first.setdefault(labels, image)


def _roots() -> tuple[Path, ...]:
    """Where Ultralytics looks for a relative `path:`."""
    from labkit.core.ultralytics import ultralytics

    ultralytics()
    from ultralytics.utils import DATASETS_DIR

    return Path.cwd(), Path(DATASETS_DIR)


def _fetch(path: Path) -> None:
    """Let Ultralytics fetch what one of its own files describes."""
    from labkit.core.ultralytics import ultralytics

    ultralytics()
    from ultralytics.data.utils import check_det_dataset

    print(f"Ultralytics fetches {path.name} …", flush=True)
    try:
        check_det_dataset(str(path))
    except Exception as error:  # whatever a download script raises
        drawn = ", ".join(map(repr, sets.SETS))
        raise FileError(
            f"{path.name} is not on this machine and could not be fetched: labkit draws "
            f"{drawn} without a network ({' '.join(str(error).split())[:200]})"
        ) from None


def _yaml_in(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if (folder / "data.yaml") in found:
        return folder / "data.yaml"
    if len(found) != 1:
        many = f"has {len(found)} YAML files" if found else "has no data.yaml"
        raise FileError(f"{folder} {many}: give the path of the one that describes the data set")
    return found[0]


def _name(path: Path) -> str:
    """A data.yaml goes by its folder's name, any other file by its own."""
    return path.absolute().parent.name if path.stem in ("data", "dataset") else path.stem


def _not_found(name: str) -> str:
    known = [*sets.SETS, *(path.name for path in data_yaml.shipped_folder().glob("*.yaml"))]
    options = (
        f"It can be {', '.join(map(repr, sets.SETS))}, the path of a YOLO data.yaml, or a name "
        "that Ultralytics knows, such as 'coco8.yaml'"
    )
    return misnamed(f"there is no data set {name!r}", name, known, options=options)


def _hash_of_pair(image: Path) -> bytes:
    labels = label_path(image)
    text = labels.read_bytes() if labels.is_file() else b""
    return hashlib.sha256(image.read_bytes()).digest() + hashlib.sha256(text).digest()
