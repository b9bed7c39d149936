"""One data.yaml, read; what is right with it is told by yaml and by Ultralytics' own files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from labkit.core.errors import FileError
from labkit.core.ultralytics import ultralytics
from labkit.vision.data_yaml import Described, is_shipped, read, shipped, shipped_folder
from labkit.vision.problems import Problems

GOOD = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
    return tmp_path


def reading(folder: Path, text: str | bytes) -> tuple[Described, list[str]]:
    """What was read, and every problem as a line."""
    path, problems = folder / "data.yaml", Problems()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, problems), [str(problem) for problem in problems.first]


def test_a_good_one(folder):
    found, problems = reading(folder, GOOD)
    assert not problems
    assert found.names == {0: "cat", 1: "dog"}
    assert found.root == folder
    assert found.splits == {"train": (folder / "images/train",), "val": (folder / "images/val",)}
    assert (found.keypoints, found.fetched, found.address, found.missing) == (0, False, "", [])


def test_every_file_that_ultralytics_ships_is_told_from_any_other():
    files = sorted(shipped_folder().glob("*.yaml"))
    assert len(files) > 20
    for path in files:
        assert is_shipped(path.read_bytes())
        assert shipped(path.stem) == shipped(path.name) == path
    assert not is_shipped(files[0].read_bytes() + b"\n")


@pytest.mark.parametrize("name", ["", "nothing", "../coco8", "a/coco8.yaml", "/coco8"])
def test_other_names_are_none_of_theirs(name):
    assert shipped(name) is None


@pytest.mark.parametrize("name", ["coco8", "VOC", "coco128", "african-wildlife"])
def test_their_files_are_read_as_yaml_reads_them(name, tmp_path):
    path = shipped(name)
    assert path is not None
    problems = Problems()
    found = read(path, problems)
    assert found.fetched == bool(yaml.safe_load(path.read_bytes()).get("download"))
    assert not problems
    assert found.names == yaml.safe_load(path.read_bytes())["names"]


def test_class_names_are_those_of_ultralytics(folder):
    ultralytics()
    from ultralytics.data.utils import check_det_dataset

    text = f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n  1: dog\n  0: cat\n"
    found, problems = reading(folder, text)
    theirs = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    assert not problems
    assert found.names == theirs["names"]
    assert [str(path) for path in found.splits["val"]] == [theirs["val"]]


WRONG = {
    "no names": (GOOD.replace("names: [cat, dog]\n", ""), ["`names:` is missing"]),
    "gap": (GOOD.replace("[cat, dog]", "{0: cat, 2: dog}"), ["without gaps", "0, 2"]),
    "no name": (GOOD.replace("[cat, dog]", "[cat, ]").replace("cat, ", "cat, null"),
                ["class 1 has no name"]),
    "a word": (GOOD.replace("[cat, dog]", "cat"), ["must be a list", "'cat'"]),
    "nothing in it": (GOOD.replace("[cat, dog]", "[]"), ["is empty"]),
    "count": (GOOD + "nc: 3\n", ["data.yaml:4: `nc:` 3 classes", "has 2"]),
    "half a class": (GOOD + "nc: 1.5\n", ["1.5 must be a whole number"]),
    "twice": (GOOD + "val: other\n", ["data.yaml:4: `val:` is there twice, first in line 2"]),
    "no split": (GOOD.replace("val: images/val\n", ""), ["`val:` is missing"]),
    "another task": (GOOD + "masks_dir: masks\n", ["semantic segmentation"]),
    "channels": (GOOD + "channels: 4\n", ["`channels:` must be 3"]),
    "keypoints": (GOOD + "kpt_shape: 17\n", ["[17, 3]"]),
    "program": (GOOD + "download: bash get.sh\n", ["is a program"]),
    "code": (GOOD + "download: |\n  import os\n", ["is a program"]),
    "tab": (GOOD + "path:\n\tx: 1\n", ["tab", "spaces"]),
    "no mapping": ("- a\n- b\n", ["must be lines of `key: value`"]),
    "empty": ("", ["is empty"]),
    "no text": (b"names: [\xff\xfe]\n", ["data.yaml:1: is not UTF-8"]),
    "huge": (b"#" * 4_000_001, ["4,000,001 bytes"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_said_with_its_line(kind, folder):
    text, parts = WRONG[kind]
    _, problems = reading(folder, text)
    for part in parts:
        assert any(part in problem for problem in problems), f"{part!r} is not in {problems}"


def test_everything_is_said_at_once(folder):
    _, problems = reading(folder, "train: 3\nnames: cat\nchannels: 1\n")
    assert len(problems) == 4


def test_what_is_not_there_is_named_with_where_to_get_it(folder):
    address = "https://example.org/pets.zip"
    found, problems = reading(folder, GOOD.replace("images/val", "away") + f"download: {address}\n")
    assert not problems
    (missing,) = found.missing
    assert str(folder / "away") in str(missing)
    assert address in str(missing)
    assert missing.line == 2


@pytest.mark.parametrize("place", ["", "beside"])
def test_a_root_is_beside_the_file_or_in_one_of_the_others(place, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("sets")
    root = (folder if place else other) / "pets"
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
    path = folder / "data.yaml"
    path.write_text("path: pets\n" + GOOD)
    assert read(path, Problems(), lambda: (other,)).root == root


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read(tmp_path / "data.yaml", Problems())
