"""What a YOLO data.yaml says: its classes, and where its images are.

The format is that of "Detection datasets" in the documentation of Ultralytics. Lines are
kept while reading, so that a mistake can be shown where it is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from labkit.core.errors import FileError
from labkit.vision.problems import Problem, Problems

LARGEST = 4_000_000  # bytes; ImageNet's thousand classes take 50,000
OTHER_TASKS = {  # keys of data sets without boxes
    "map": "classification",
    "masks_dir": "semantic segmentation",
    "depth_scale": "depth estimation",
}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".txz", ".tbz2")
SPLITS = ("train", "val")


@dataclass
class Described:
    """A data.yaml, read.

    Attributes:
        path: the file.
        names: class number -> name; empty where they could not be read.
        root: the folder that the splits are relative to.
        splits: "train" and "val" -> folders of images and text files that list images.
        missing: folders or lists that are named and not there.
        keypoints: numbers that follow the box in each label of a pose data set.
        fetched: Ultralytics may fetch the images, as this is a file of its own.
        address: of an archive that anybody else's file names.
    """

    path: Path
    names: dict[int, str] = field(default_factory=dict)
    root: Path = Path()
    splits: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    missing: list[Problem] = field(default_factory=list)
    keypoints: int = 0
    fetched: bool = False
    address: str = ""


def shipped_folder() -> Path:
    """Where Ultralytics keeps its data set files; finding it does not import Ultralytics."""
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or not spec.submodule_search_locations:
        raise FileError("Ultralytics is not installed: pip install ultralytics")
    return Path(next(iter(spec.submodule_search_locations))) / "cfg" / "datasets"


def shipped(name: str) -> Path | None:
    """The file inside Ultralytics that goes by this name, "coco8" or "coco8.yaml"."""
    if not name or Path(name).name != name:
        return None
    path = shipped_folder() / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    return path if path.is_file() else None


def is_shipped(content: bytes) -> bool:
    """Whether a file of exactly this content ships inside Ultralytics."""
    return any(
        path.stat().st_size == len(content) and path.read_bytes() == content
        for path in shipped_folder().glob("*.yaml")
    )


def read(
    path: Path, problems: Problems, roots: Callable[[], tuple[Path, ...]] = tuple
) -> Described:
    """Read a data.yaml; what is wrong with it goes into `problems`.

    Args:
        path: the file.
        problems: gets what is wrong, each with its line.
        roots: gives the folders that a relative `path:` may be relative to, where it is not
            beside the file.

    Raises:
        FileError: the file is not there or cannot be read.
    """
    described = Described(path, root=path.parent)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from None
    document = _Document(path, content, problems)
    if document.values is None:
        return described
    described.names = _names(document)
    for key, task in OTHER_TASKS.items():
        if document.get(key) is not None:
            document.wrong(key, f"is of data for {task}; a detector needs boxes")
    if document.whole("channels", 3) != 3:
        document.wrong("channels", "must be 3: detectors here look at colour images")
    described.fetched, described.address = _download(document, content)
    described.keypoints = _keypoints(document)
    described.root = _root(document, roots).resolve()
    for split in SPLITS:
        described.splits[split] = tuple(_sources(document, split, described))
    return described


class _Document:
    """The values of a YAML mapping and the line of each."""

    def __init__(self, path: Path, content: bytes, problems: Problems) -> None:
        self.path, self.problems = path, problems
        self.values: dict[Any, Any] | None = None
        self.lines: dict[Any, int] = {}
        if len(content) > LARGEST:
            self.mistake(f"{len(content):,} bytes are too many for the description of a data set")
            return
        try:
            loader = yaml.SafeLoader(content.decode("utf-8-sig"))
            node = loader.get_single_node()
            values = loader.construct_document(node) if node else None
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            self.mistake("is not UTF-8 text", line)
        except yaml.MarkedYAMLError as error:
            self._not_yaml(error, content)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self.mistake(f"is not YAML: {str(error) or type(error).__name__}")
        else:
            if not isinstance(values, dict):
                self.mistake("is empty" if values is None else "must be lines of `key: value`", 1)
                return
            self.values = values
            self._find_lines(node)

    def mistake(self, what: str, line: int | None = None) -> None:
        """Note a mistake."""
        self.problems.add(Problem("mistake in the YAML file", self.path.name, what, line))

    def wrong(self, key: Any, what: str) -> None:
        """Note a wrong value, by its key."""
        self.mistake(f"`{key}:` {what}", self.lines.get(key))

    def get(self, key: str) -> Any:
        """A value; like nothing at all where it is the word None, as Ultralytics takes it."""
        assert self.values is not None
        value = self.values.get(key)
        return None if value == "None" else value

    def whole(self, key: str, default: int) -> int:
        """A positive whole number."""
        value = self.get(key)
        if value is None:
            return default
        try:
            if isinstance(value, bool) or float(value) != int(value) or int(value) < 1:
                raise ValueError
            return int(value)
        except (TypeError, ValueError, OverflowError):
            self.wrong(key, f"{value!r} must be a whole number from 1 on")
            return default

    def _find_lines(self, node: yaml.MappingNode) -> None:
        for key, value in node.value:
            name = key.value
            line = key.start_mark.line + 1
            if name in self.lines:
                self.mistake(f"`{name}:` is there twice, first in line {self.lines[name]}", line)
            self.lines[name] = line
            if name == "names" and isinstance(value, yaml.MappingNode):
                self._find_twins(value)

    def _find_twins(self, names: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in names.value:
            line = key.start_mark.line + 1
            number = str(key.value)
            if number in seen:
                self.mistake(
                    f"class {number} has two names, the first in line {seen[number]}", line
                )
            seen.setdefault(number, line)

    def _not_yaml(self, error: yaml.MarkedYAMLError, content: bytes) -> None:
        lines = content.splitlines()
        marks = (mark for mark in (error.problem_mark, error.context_mark) if mark)
        line = next((mark.line + 1 for mark in marks if mark.line < len(lines)), None)
        text = lines[line - 1] if line else b""
        indent = text[: len(text) - len(text.lstrip())]
        if b"\t" in indent or "'\\t'" in str(error.problem):
            self.mistake("has a tab where YAML wants spaces", line)
        else:
            what = ", ".join(part for part in (error.context, error.problem) if part)
            self.mistake(f"is not YAML: {what}", line)


def _download(document: _Document, content: bytes) -> tuple[bool, str]:
    """Whether Ultralytics may fetch the images, and the address that a file of anybody else has.

    What Ultralytics does with `download:` when the validation images are missing: the address
    of an archive is unpacked, `bash …` is run, and all else is executed as Python. None of it
    is done for a file that does not ship inside Ultralytics; a program is refused as such.
    """
    download = document.get("download")
    if not download or is_shipped(content):
        return bool(download), ""
    address = str(download).strip()
    plain = address.lower().split("?")[0]
    if plain.startswith("http") and plain.endswith(ARCHIVES) and len(address.split()) == 1:
        return False, address
    document.wrong(
        "download",
        "is a program that Ultralytics would run, and labkit lets no data set run one: see what "
        "it does, get the images yourself, then remove it",
    )
    return False, ""


def _names(document: _Document) -> dict[int, str]:
    names, count = document.get("names"), document.get("nc")
    classes = document.whole("nc", 0) if count is not None else 0
    if names is None:
        if not classes:
            document.mistake("`names:` is missing: list the classes, as in `names: [cat, dog]`")
        return {number: f"class_{number}" for number in range(classes)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        document.wrong("names", f"must be a list, as in [cat, dog], not {names!r}")
        return {}
    if not names:
        document.wrong("names", "is empty: there must be one class at least")
        return {}
    try:
        numbered = {_number(key): name for key, name in names.items()}
    except (TypeError, ValueError):
        document.wrong("names", "must be numbered 0, 1, 2, … or be a list, as in [cat, dog]")
        return {}
    for number, name in numbered.items():
        if name is None or isinstance(name, (list, dict)) or not str(name).strip():
            document.wrong("names", f"class {number} has no name")
    if sorted(numbered) != list(range(len(names))):
        document.wrong(
            "names",
            f"must be numbered 0 to {len(names) - 1} without gaps, but the numbers are "
            f"{_listed(sorted(numbered))}",
        )
        return {}
    if classes and classes != len(names):
        document.wrong("nc", f"{classes} classes, but `names:` has {len(names)}")
    return {number: str(numbered[number]) for number in sorted(numbered)}


def _number(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, (int, str)):
        raise ValueError(key)
    return int(key)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")


def _keypoints(document: _Document) -> int:
    shape = document.get("kpt_shape")
    if shape is None:
        return 0
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(isinstance(n, int) and n > 0 for n in shape)
    ):
        document.wrong("kpt_shape", f"{shape!r} must be two whole numbers, as in [17, 3]")
        return 0
    return int(shape[0] * shape[1])


def _root(document: _Document, roots: Callable[[], tuple[Path, ...]]) -> Path:
    """The folder of `path:`: as it is, or beside the file, or in one of the other `roots`."""
    own = document.path.parent
    path = document.get("path")
    if path is None:
        return own
    if not isinstance(path, str):
        document.wrong("path", f"must be a folder, not {path!r}")
        return own
    place = Path(path).expanduser()
    if (own / place).is_dir():
        return own / place
    return next((root / place for root in roots() if (root / place).is_dir()), own / place)


def _sources(document: _Document, split: str, described: Described) -> Iterator[Path]:
    key, value = split, document.get(split)
    if value is None and split == "val":
        value = document.get("validation")
        key = split if value is None else "validation"
    entries = value if isinstance(value, list) else [value]
    if value is None or not entries:
        document.mistake(
            f"`{split}:` is missing: the folder of its images, as in `{split}: images/{split}`",
            document.lines.get(key),
        )
        return
    for entry in entries:
        if not isinstance(entry, str) or not entry:
            document.wrong(key, f"must be a folder or a list of folders, not {entry!r}")
            continue
        place = described.root / entry
        if not place.exists() and entry.startswith("../"):  # as some exports write it
            place = described.root / entry[3:]
        if place.exists():
            yield place.resolve()
        else:
            what = f"`{key}:` {described.root / entry} is not there"
            if described.address:
                what += f"; fetch and unpack {described.address} yourself"
            line = document.lines.get(key)
            described.missing.append(Problem("missing images", document.path.name, what, line))
