from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from labkit.core.errors import FileError, LabError
from labkit.core.ultralytics import ultralytics
from labkit.vision import data as data_module
from labkit.vision import data_yaml
from labkit.vision.data import DataSet, open_data
from labkit.vision.labels import IMAGES, label_path
from labkit.vision.problems import SHOWN

YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
LABELS = "0 0.5 0.5 0.25 0.5\n1 0.3 0.4 0.2 0.1\n"


def write_image(path: Path, seed: int = 0, height: int = 48, width: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three training and two validation images, all as it should be."""
    root = tmp_path / "pets"
    for split, count in (("train", 3), ("val", 2)):
        (root / "labels" / split).mkdir(parents=True)
        for i in range(count):
            write_image(root / "images" / split / f"{i}.jpg", i)
            (root / "labels" / split / f"{i}.txt").write_text(LABELS)
    (root / "data.yaml").write_text(YAML)
    return root


def complaint(folder: Path) -> str:
    with pytest.raises(LabError) as caught:
        open_data(folder / "data.yaml")
    return str(caught.value)


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
    }


# --- what is right


def test_a_good_one_is_opened(folder):
    data = open_data(folder / "data.yaml")
    assert (data.name, data.origin) == ("pets", "yours")
    assert data.yaml == folder / "data.yaml"
    assert data.names == {0: "cat", 1: "dog"}
    assert [path.name for path in data.train] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [path.name for path in data.val] == ["0.jpg", "1.jpg"]
    assert not data.remarks
    first = data.labelled("train")[0]
    assert (first.height, first.width) == (48, 64)
    assert first.classes.tolist() == [0, 1]
    np.testing.assert_allclose(first.corners[0], [24, 12, 40, 36], atol=1e-4)


@pytest.mark.parametrize("name", ["pets", "pets/data.yaml", "other.yml"])
def test_it_goes_by_its_folder_or_file(folder, name, monkeypatch):
    monkeypatch.chdir(folder.parent)
    shutil.copy(folder / "data.yaml", "other.yml")
    Path("other.yml").write_text("path: pets\n" + YAML)
    data = open_data(name)
    assert data.name == ("other" if name == "other.yml" else "pets")
    assert data.train[0] == folder / "images/train/0.jpg"
    assert open_data(data) is data


NAMES = {0: "cat", 1: "dog"}


@pytest.mark.parametrize(
    ("text", "train", "names"),
    [
        ("path: .\n" + YAML, 3, NAMES),
        ("train: [images/train, images/val]\nval: images/val\nnames: [cat, dog]", 5, NAMES),
        ("train: images\nval: images/val\nnames: {0: cat, 1: dog}", 5, NAMES),
        ("train: list.txt\nval: images/val\nnames: {1: dog, 0: cat}", 2, NAMES),
        ("train: ../images/train\nvalidation: ../images/val\nnc: 2\nnames: [cat, dog]", 3, NAMES),
        (YAML.replace("[cat, dog]", "\n  '0': cat\n  '1': dog"), 3, NAMES),
        (YAML.replace("names: [cat, dog]", "nc: 2"), 3, {0: "class_0", 1: "class_1"}),
        ("\ufeff" + YAML + "test: None\ndownload: https://example.org/pets.zip\n", 3, NAMES),
    ],
    ids=["path", "two folders", "all below", "list", "export", "text keys", "nc", "address"],
)
def test_the_ways_to_write_a_data_yaml(folder, text, train, names):
    (folder / "list.txt").write_text("./images/train/1.jpg\n\nimages/train/0.jpg\n")
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    data = open_data(folder)
    assert (len(data.train), data.names) == (train, names)
    assert list(data.train) == sorted(data.train)


@pytest.mark.parametrize(
    "text",
    [
        LABELS,
        "",
        "\n\n0 0.5 0.5 1 1\n\n",
        "\ufeff0 0.5 0.5 0.2 0.2",
        "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.9 0.2 0.9 0.8 0.2 0.8\n",
        "1 0.2 0.2 0.9 0.2 0.9 0.8 0.2 0.8\n",
        "0 0.5 0.5 0.2 0.2 0.1 0.2 0.3 0.4\n1 0.5 0.5 0.2 0.2\n",
        "0.0 1.005 0.5 0.2 0.2\n",
        "0 0.5 0.5 0.2 0.2\n" * 2,
        "0 0.1 0.1 0.5 0.1 0.5 0.5\n" * 2,
    ],
    ids=[
        "boxes", "empty", "gaps", "mark", "outlines", "outline", "keypoints", "beyond", "twice",
        "outline twice",
    ],
)  # fmt: skip
def test_labels_are_read_as_ultralytics_reads_them(folder, text):
    ultralytics()
    from ultralytics.data.utils import verify_image_label

    points = "keypoints: 1" if len(text.split("\n")[0].split()) == 9 and "0.3 0.4" in text else ""
    if points:
        (folder / "data.yaml").write_text(YAML + "kpt_shape: [2, 2]\n")
    image, labels = folder / "images/train/1.jpg", folder / "labels/train/1.txt"
    labels.write_text(text, encoding="utf-8")
    ours = open_data(folder).labelled("train")[1]
    shape = (2, 2) if points else (0, 0)
    theirs = verify_image_label((str(image), str(labels), "", False, 2, *shape, False))
    assert theirs[0], theirs[-1]
    np.testing.assert_allclose(ours.classes, theirs[1][:, 0])
    np.testing.assert_allclose(ours.boxes, theirs[1][:, 1:], atol=1e-6)
    assert (ours.height, ours.width) == theirs[2]
    assert len(ours.polygons) == len(theirs[3])
    for mine, other in zip(ours.polygons, theirs[3], strict=True):
        np.testing.assert_allclose(mine, other)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_an_image_is_as_large_as_it_stands_upright(folder, orientation, kind):
    ultralytics()
    from ultralytics.data.utils import check_image

    path = folder / "images/train/1.jpg"
    path.unlink()
    path = path.with_suffix(f".{kind}")
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    image = open_data(folder).labelled("train")[1]
    assert (image.height, image.width) == check_image(str(path))[1]


def test_image_endings_are_those_of_ultralytics():
    ultralytics()
    from ultralytics.data.utils import IMG_FORMATS, img2label_paths

    assert IMAGES == IMG_FORMATS
    for image in ("/a/images/b/images/c.d.jpg", "/images/a.png", "/a/b.jpg", "/a/images/x/y.PNG"):
        assert [str(label_path(Path(image)))] == img2label_paths([image])


def test_config_and_records_are_what_ultralytics_would_make_of_it(folder):
    ultralytics()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = open_data(folder)
    theirs, ours = check_det_dataset(str(folder / "data.yaml")), data.config()
    assert {key: ours[key] for key in ("names", "nc", "channels", "path")} == {
        key: theirs[key] for key in ("names", "nc", "channels", "path")
    }
    for split in ("train", "val"):
        made = YOLODataset(img_path=theirs[split], data=theirs, imgsz=64)
        assert made.im_files == ours[split]
        assert len(made.labels) == len(ours[split])
        for one, other in zip(data.records(split), made.labels, strict=True):
            assert one.keys() == other.keys()
            assert one["im_file"] == other["im_file"]
            assert one["shape"] == other["shape"]
            for key in ("cls", "bboxes"):
                np.testing.assert_allclose(one[key], other[key])
                assert one[key].dtype == other[key].dtype


@pytest.mark.parametrize(
    ("spoil", "remark"),
    [
        (lambda f: (f / "labels/train/1.txt").unlink(), "without a label file"),
        (lambda f: (f / "labels/train/1.txt").write_text(LABELS + LABELS), "more than once"),
        (lambda f: (f / "labels/val/1.txt").write_text("0 .95 .5 .5 .5"), "outside"),
        (
            lambda f: (f / "data.yaml").write_text(YAML.replace("images/val", "images/train")),
            "trained on and validated with",
        ),
    ],
)
def test_what_is_odd_but_right_is_remarked(folder, spoil, remark):
    spoil(folder)
    (found,) = open_data(folder).remarks
    assert remark in found


# --- what is wrong


def labels(text):
    return lambda folder: (folder / "labels/train/1.txt").write_text(text)


def yaml_file(text):
    return lambda folder: (folder / "data.yaml").write_text(text)


def cut(path, keep):
    def spoil(folder):
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: int(len(content) * keep)])

    return spoil


def replace(path, content):
    return lambda folder: (folder / path).write_bytes(content)


def as_png(folder):
    write_image(folder / "images/train/1.png")
    (folder / "images/train/1.jpg").unlink()
    cut("images/train/1.png", 0.6)(folder)


HEAD = "train: images/train\nval: images/val\n"
BAD = {
    "too few columns": (labels("0 0.5 0.5 0.2"), ["labels/train/1.txt:1: 4 columns"]),
    "too many columns": (labels("0 .5 .5 .2 .2 .9"), ["1.txt:1: 6 columns"]),
    "half a corner": (labels("0 .1 .1 .5 .1 .5 .5 .3"), ["1.txt:1: 8 columns"]),
    "commas": (labels(LABELS + "0,0.5,0.5,0.2,0.2"), ["1.txt:3: '0,0.5", "not commas"]),
    "a word": (labels("cat 0.5 0.5 0.2 0.2"), ["1.txt:1: 'cat' is not a number"]),
    "nan": (labels(LABELS + "\n0 nan 0.5 0.2 0.2"), ["1.txt:4: 0 nan 0.5", "finite"]),
    "infinite": (labels("0 0.5 0.5 inf 0.2"), ["1.txt:1: 0 0.5 0.5 inf", "finite"]),
    "unnamed class": (labels("2 0.5 0.5 0.2 0.2"), ["1.txt:1: class 2", "0 to 1"]),
    "negative class": (labels("-1 0.5 0.5 0.2 0.2"), ["1.txt:1: class -1"]),
    "half a class": (labels("0.5 0.5 0.5 0.2 0.2"), ["1.txt:1: class 0.5"]),
    "pixels": (labels(LABELS + "0 20 30 8 9"), ["1.txt:3: 0 20 30 8 9", "pixels"]),
    "out of range": (labels("0 1.2 0.5 0.2 0.2"), ["1.txt:1: 0 1.2", "from 0 to 1"]),
    "negative": (labels("0 0.5 -0.5 0.2 0.2"), ["1.txt:1: 0 0.5 -0.5", "from 0 to 1"]),
    "zero size": (labels(LABELS + "1 0.5 0.5 0 0.2"), ["1.txt:3: a box of 0 × 0.2"]),
    "flat outline": (labels("1 .5 .1 .5 .2 .5 .3"), ["1.txt:1: a box of 0 × 0.2"]),
    "a mixture": (labels("1 .5 .1 .5 .2 .6 .3\n" + LABELS), ["1.txt: outlines (1) and boxes (2)"]),
    "no text": (replace("labels/train/1.txt", b"\xff\xfe0 1"), ["1.txt: is no text file"]),
    "truncated image": (cut("images/train/1.jpg", 0.6), ["images/train/1.jpg: is damaged or cut"]),
    "truncated PNG": (as_png, ["images/train/1.png: is damaged or cut"]),
    "truncated header": (cut("images/val/1.jpg", 0.01), ["images/val/1.jpg: is damaged or cut"]),
    "empty image": (cut("images/val/1.jpg", 0), ["images/val/1.jpg: is empty"]),
    "no image": (replace("images/val/1.jpg", b"<html>" * 99), ["val/1.jpg: is no image"]),
    "tiny": (
        lambda f: write_image(f / "images/train/1.jpg", 0, 8, 40),
        ["images/train/1.jpg: has 40×8 pixels"],
    ),
    "missing image": (
        lambda f: (f / "images/train/1.jpg").unlink(),
        ["images/train/1.*: is not there", "labels/train/1.txt"],
    ),
    "missing images": (
        lambda f: shutil.rmtree(f / "images/train"),
        ["data.yaml:1: `train:`", "images/train is not there"],
    ),
    "missing validation": (
        lambda f: shutil.rmtree(f / "images/val"),
        ["data.yaml:2: `val:`", "images/val is not there"],
    ),
    "empty training set": (
        lambda f: [path.unlink() for path in f.glob("*/train/*")],
        ["data.yaml: `train:` has no images", "images/train"],
    ),
    "missing labels": (
        lambda f: shutil.rmtree(f / "labels"),
        ["no image of `train:` has a label", "no image of `val:`", "labels/train/0.txt"],
    ),
    "empty labels": (
        lambda f: [path.write_text("") for path in (f / "labels/val").iterdir()],
        ["all label files of `val:` are empty"],
    ),
    "twins": (
        lambda f: write_image(f / "images/train/1.png"),
        ["images/train/1.png: and 1.jpg share", "labels/train/1.txt"],
    ),
    "missing in a list": (
        lambda f: (
            (f / "list.txt").write_text("images/train/0.jpg\nimages/train/7.jpg\n"),
            yaml_file(YAML.replace("images/train", "list.txt"))(f),
        ),
        ["list.txt:2:", "images/train/7.jpg is not there"],
    ),
    "an image as a list": (
        yaml_file(YAML.replace("images/train", "images/train/1.jpg")),
        ["images/train/1.jpg: is neither a folder"],
    ),
    "no train": (yaml_file("val: images/val\nnames: [cat, dog]"), ["`train:` is missing"]),
    "no val": (yaml_file("train: images/train\nnames: [cat, dog]"), ["`val:` is missing"]),
    "empty val": (yaml_file("train: images/train\nval:\nnames: [a, b]"), ["data.yaml:2: `val:`"]),
    "a number as val": (yaml_file("train: images/train\nval: 3\nnames: [a, b]"), ["2: `val:`"]),
    "no names": (yaml_file(HEAD), ["`names:` is missing"]),
    "names of nothing": (yaml_file(HEAD + "names: []"), ["data.yaml:3: `names:` is empty"]),
    "a gap": (yaml_file(HEAD + "names: {0: a, 2: b}"), ["data.yaml:3: `names:`", "0, 2"]),
    "from one": (yaml_file(HEAD + "names: {1: a, 2: b}"), ["data.yaml:3: `names:`", "1, 2"]),
    "twice": (yaml_file(HEAD + "names:\n  0: a\n  1: b\n  1: c"), ["yaml:6: class 1", "line 5"]),
    "unnumbered": (yaml_file(HEAD + "names: {cat: 0, dog: 1}"), ["data.yaml:3: `names:`"]),
    "nameless": (yaml_file(HEAD + "names:\n  0:\n  1: b"), ["class 0 has no name"]),
    "nc": (yaml_file("nc: 3\n" + YAML), ["data.yaml:1: `nc:` 3 classes", "has 2"]),
    "no nc": (yaml_file("nc: many\n" + YAML), ["data.yaml:1: `nc:` 'many'"]),
    "a tab": (yaml_file(HEAD + "names:\n\t0: a\n"), ["data.yaml:4: has a tab"]),
    "a tab after a key": (yaml_file("train:\timages/train"), ["data.yaml:1: has a tab"]),
    "no colon": (yaml_file("train images/train\nval: b\n"), ["data.yaml:2: is not YAML"]),
    "a bracket": (yaml_file(HEAD + "names: [a, b\n"), ["data.yaml:3: is not YAML"]),
    "a key twice": (yaml_file(YAML + "val: x\n"), ["data.yaml:4: `val:` is there twice", "line 2"]),
    "nothing": (yaml_file("# nothing\n"), ["is empty"]),
    "a list": (yaml_file("- a\n- b\n"), ["must be lines of"]),
    "depth": (yaml_file("[" * 5000), ["is not YAML"]),
    "an object": (yaml_file(YAML + "x: !!python/name:os.system\n"), ["data.yaml:4: is not YAML"]),
    "latin": (replace("data.yaml", b"train: gr\xf6\xdfer\n"), ["data.yaml:1: is not UTF-8"]),
    "grey": (yaml_file(YAML + "channels: 1"), ["data.yaml:4: `channels:` must be 3"]),
    "masks": (yaml_file(YAML + "masks_dir: masks"), ["data.yaml:4", "semantic segmentation"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_with_its_place_and_nothing_is_written(name, folder):
    spoil, told = BAD[name]
    spoil(folder)
    before = everything_below(folder.parent)
    message = complaint(folder)
    for part in told:
        assert part in message
    assert everything_below(folder.parent) == before


def test_everything_is_told_at_once(folder):
    yaml_file("nc: 3\n" + YAML)(folder)
    labels("0 0.5 0.5 0 0.1\n5 0.5 0.5 0.1 0.1\n")(folder)
    cut("images/val/0.jpg", 0.5)(folder)
    message = complaint(folder)
    assert "has 4 problems" in message
    for part in ("data.yaml:1", "1.txt:1: a box", "1.txt:2: class 5", "images/val/0.jpg: is dam"):
        assert part in message


def test_many_problems_are_counted_and_not_all_shown(folder):
    labels("9 0.5 0.5 0.2 0.2\n" * 30 + "0 0.5 0.5 0 0\n" * 7)(folder)
    message = complaint(folder)
    assert "has 37 problems" in message
    assert len(message.splitlines()) == 1 + SHOWN + 1
    assert "17 more: 10 × class without a name, 7 × box of zero size" in message


PROGRAMS = {
    "python": "download: |\n  import os\n  open(os.environ['MARK'], 'w')\n",
    "bash": "download: bash get.sh\n",
    "address and more": "download: |\n  https://example.org/a.zip\n  open('mark', 'w').zip\n",
    "no archive": "download: https://example.org/get.sh\n",
}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_refused_and_not_run(name, there, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MARK", str(folder / "mark"))
    (folder / "get.sh").write_text("touch mark\n")
    (folder / "data.yaml").write_text(YAML + PROGRAMS[name])
    if not there:
        shutil.rmtree(folder / "images")
    before = everything_below(folder)
    assert "data.yaml:4: `download:` is a program" in complaint(folder)
    assert everything_below(folder) == before


def test_an_address_is_not_followed_for_a_file_of_ones_own(folder, monkeypatch):
    monkeypatch.setattr(data_module, "_fetch", lambda path: pytest.fail("fetched"))
    shutil.rmtree(folder / "images")
    (folder / "data.yaml").write_text(YAML + "download: https://example.org/a.zip\n")
    assert "fetch and unpack https://example.org/a.zip yourself" in complaint(folder)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_that_leads_back_up_ends_somewhere(folder):
    (folder / "images/train/again").symlink_to(folder / "images", target_is_directory=True)
    assert len(open_data(folder).train) < 20


# --- names


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(FileError, match="did you mean 'cells'"):
        open_data("cels")
    with pytest.raises(FileError, match=r"did you mean 'coco8\.yaml'"):
        open_data("coco8.yml")
    with pytest.raises(FileError, match=r"data\.yaml"):
        open_data("/nowhere/data.yaml")


def test_a_folder_without_a_description(tmp_path):
    with pytest.raises(FileError, match=r"has no data\.yaml"):
        open_data(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(YAML)
    with pytest.raises(FileError, match="has 2 YAML files"):
        open_data(tmp_path)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Ultralytics' folder of data sets, empty."""
    monkeypatch.setattr(data_module, "_roots", lambda: (tmp_path,))
    return tmp_path


@pytest.mark.parametrize("name", ["coco8", "coco8.yaml"])
def test_without_a_network_one_line_names_what_is_there(name, elsewhere, monkeypatch):
    ultralytics()
    import ultralytics.data.utils as utils

    def fail(*_arguments, **_options):
        raise ConnectionError("environment is\noffline")

    monkeypatch.setattr(utils, "check_det_dataset", fail)
    with pytest.raises(FileError, match="'cells', 'parts', 'fruit', 'scenes'") as caught:
        open_data(name)
    assert len(str(caught.value).splitlines()) == 1


def test_what_ultralytics_knows_it_fetches_once(folder, elsewhere, monkeypatch):
    ultralytics()
    import ultralytics.data.utils as utils

    fetched = []

    def fetch(path):
        fetched.append(Path(path).name)
        shutil.move(folder / "images", elsewhere / "coco8" / "images")
        shutil.move(folder / "labels", elsewhere / "coco8" / "labels")

    monkeypatch.setattr(utils, "check_det_dataset", fetch)
    (elsewhere / "coco8").mkdir()
    for _ in range(2):
        data = open_data("coco8.yaml")
        assert (data.name, data.origin) == ("coco8", "fetched by Ultralytics")
        assert len(data.names) == 80
        assert data.train[0] == elsewhere / "coco8/images/train/0.jpg"
    assert fetched == ["coco8.yaml"]


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_counts_as_theirs_by_its_content(changed, tmp_path, elsewhere, monkeypatch):
    theirs = (data_yaml.shipped_folder() / "VOC.yaml").read_bytes()
    ours = tmp_path / "VOC.yaml"
    ours.write_bytes(theirs + b"# and more\n" * changed)
    asked = []

    def fetch(path):
        asked.append(path)
        raise FileError("no network")

    monkeypatch.setattr(data_module, "_fetch", fetch)
    with pytest.raises(LabError, match="is a program" if changed else "no network"):
        open_data(ours)
    assert bool(asked) != changed


# --- the hash


def test_the_hash_is_of_the_content_alone(folder, tmp_path):
    first = open_data(folder).sha256
    assert first == open_data(folder).sha256
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    (moved / "images/train/0.jpg").rename(moved / "images/train/z.jpg")
    (moved / "labels/train/0.txt").rename(moved / "labels/train/z.txt")
    assert open_data(moved).sha256 == first


@pytest.mark.parametrize(
    "change",
    [
        labels("1 0.5 0.5 0.25 0.5\n"),
        yaml_file(YAML.replace("cat", "cow")),
        lambda f: write_image(f / "images/val/1.jpg", 99),
        lambda f: [shutil.move(f / k / "val/1.jpg".replace("jpg", e), f / k / f"train/9.{e}")
                   for k, e in (("images", "jpg"), ("labels", "txt"))],
    ],
    ids=["label", "name", "image", "split"],
)  # fmt: skip
def test_the_hash_changes_with_the_content(folder, change):
    first = open_data(folder).sha256
    change(folder)
    assert open_data(folder).sha256 != first


def test_it_says_what_it_is(folder):
    data = open_data(folder)
    assert isinstance(data, DataSet)
    assert repr(data) == "pets: 3 training and 2 validation images of cat, dog; yours"
