from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from labkit.core.errors import FileError
from labkit.core.ultralytics import ultralytics
from labkit.vision.data import open_data
from labkit.vision.detections import read_image
from labkit.vision.labels import examine

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")
FORMATS = {
    "avif": "AVIF",
    "bmp": "BMP",
    "jp2": "JPEG2000",
    "jpg": "JPEG",
    "mpo": "MPO",
    "png": "PNG",
    "tif": "TIFF",
    "webp": "WEBP",
}
NEEDS = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}


def picture(mode: str) -> Image.Image:
    """48 pixels wide and 36 high, in one of Pillow's modes."""
    values = np.random.default_rng(0).integers(0, 255, (36, 48, 3), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    return Image.fromarray(values).convert(mode)


def written(mode: str, kind: str) -> bytes | None:
    """The picture as a file; None where the format has no such mode, or OpenCV does not read it."""
    file = io.BytesIO()
    try:
        picture(mode).save(file, kind)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    content = file.getvalue()
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if read is None else content


CASES = [
    pytest.param(content, suffix, id=f"{suffix}-{mode}")
    for suffix, kind in FORMATS.items()
    if kind not in NEEDS or features.check(NEEDS[kind])
    for mode in MODES
    if (content := written(mode, kind))
]


def labelled(folder: Path, content: bytes, suffix: str) -> Path:
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    image = folder / "images" / f"a.{suffix}"
    image.write_bytes(content)
    (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    return image


@pytest.mark.parametrize(("content", "suffix"), CASES)
def test_what_ultralytics_reads_is_read(tmp_path, content, suffix):
    image = labelled(tmp_path, content, suffix)
    ultralytics()
    from ultralytics.utils.patches import imread

    pixels = imread(str(image))
    found = examine(image, tmp_path, classes=1, keypoints=0)
    assert pixels is not None
    assert not found.problems
    assert found.image is not None
    assert (found.image.height, found.image.width) == pixels.shape[:2] == (36, 48)


@pytest.mark.parametrize(("content", "suffix"), CASES)
def test_a_detector_sees_the_pixels_that_it_was_trained_on(tmp_path, content, suffix):
    image = labelled(tmp_path, content, suffix)
    ultralytics()
    from ultralytics.utils.patches import imread

    trained = imread(str(image))[..., ::-1].astype(int)
    for source in (image, content):
        seen = read_image(source)
        assert seen.dtype == np.uint8
        # Their readers of JPEG, of CMYK and of JPEG 2000's YCbCr round in different ways.
        assert np.abs(seen - trained).mean() < 10


@pytest.mark.parametrize(
    ("mode", "kind", "how"),
    [
        ("F", "TIFF", {}),
        ("I", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "zstd"}),
        ("RGB", "TIFF", {"compression": "lzma"}),
        ("CMYK", "JPEG2000", {}),
    ],
)
def test_what_training_cannot_read_is_refused_before_it(tmp_path, mode, kind, how):
    file = io.BytesIO()
    try:
        picture(mode).save(file, kind, **how)
    except (OSError, RuntimeError) as error:
        pytest.skip(f"this Pillow does not write it: {error}")
    if cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR) is not None:
        pytest.skip("this OpenCV reads it")
    suffix = {"TIFF": "tif", "JPEG2000": "jp2"}[kind]
    (problem,) = examine(labelled(tmp_path, file.getvalue(), suffix), tmp_path, 1, 0).problems
    assert f"{kind} of a kind that training cannot read (mode {mode})" in problem.what


def test_an_open_data_set_of_every_kind_is_what_training_loads(tmp_path):
    """From the files to the tensors of Ultralytics' own data set, capital endings among them."""
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for number, case in enumerate(CASES):
            content, suffix = case.values
            ending = suffix.upper() if number % 2 else suffix
            (tmp_path / "images" / split / f"{case.id}.{ending}").write_bytes(content)
            (tmp_path / "labels" / split / f"{case.id}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    yaml = tmp_path / "data.yaml"
    yaml.write_text("train: images/train\nval: images/val\nnames: [thing]\n")
    data = open_data(yaml)
    ultralytics()
    from labkit.vision.finetuning.images import Images

    loaded = Images(data, "train", imgsz=64, augment=False, cache=None)
    assert len(loaded) == len(CASES)
    for number in range(len(loaded)):
        image, original, _ = loaded.load_image(number)
        assert original == (36, 48)
        assert image.shape == (48, 64, 3)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.skipif(find_spec("pi_heif") is not None, reason="HEIF can be read here")
def test_heif_is_refused_with_the_package_that_reads_it(tmp_path):
    (problem,) = examine(labelled(tmp_path, HEIC, "heic"), tmp_path, 1, 0).problems
    assert "pip install pi-heif" in problem.what
    with pytest.raises(FileError, match="not an image that can be read"):
        read_image(HEIC)


def test_every_mode_of_png_is_among_them():
    modes = {case.id.partition("-")[2] for case in CASES if case.id.startswith("png-")}
    assert modes >= {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_the_size_is_as_it_is_seen(tmp_path, suffix):
    file, exif = io.BytesIO(), Image.Exif()
    exif[274] = 6  # a quarter turn
    picture("RGB").save(file, FORMATS[suffix], exif=exif)
    found = examine(labelled(tmp_path, file.getvalue(), suffix), tmp_path, 1, 0).image
    assert found is not None
    assert (found.height, found.width) == (48, 36)


def png(**how) -> bytes:
    file = io.BytesIO()
    picture("P" if "transparency" in how else "RGB").save(file, "PNG", **how)
    return file.getvalue()


def text() -> PngInfo:
    info = PngInfo()
    info.add_text("Software", "a camera", zip=True)
    return info


@pytest.mark.parametrize(
    "content",
    [
        png(),
        png(transparency=0),
        png(pnginfo=text(), dpi=(300, 300)),
        png(save_all=True, append_images=[picture("RGB")]),
        png(icc_profile=b"no profile"),
    ],
    ids=["plain", "transparent", "with text", "animated", "with a strange profile"],
)
def test_pngs_of_all_kinds_are_read(tmp_path, content):
    assert not examine(labelled(tmp_path, content, "png"), tmp_path, 1, 0).problems


@pytest.mark.parametrize("suffix", ["bmp", "jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_what_is_cut_short_is_refused(tmp_path, suffix, share):
    content = written("RGB", FORMATS[suffix])
    image = labelled(tmp_path, content[: int(len(content) * share)], suffix)
    problems = examine(image, tmp_path, 1, 0).problems
    assert [problem.kind for problem in problems] == ["unusable image"], problems


def test_a_flipped_bit_in_a_png_is_seen(tmp_path):
    content = bytearray(png())
    content[len(content) // 2] ^= 4
    problems = examine(labelled(tmp_path, bytes(content), "png"), tmp_path, 1, 0).problems
    assert "damaged" in problems[0].what
