"""The drawn sets: images, boxes, and folders in the cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from labkit.core.errors import LabError
from labkit.vision.data import open_data
from labkit.vision.synthetic import sets
from labkit.vision.synthetic.drawn import Drawn
from labkit.vision.synthetic.sets import cells, fruit, parts
from labkit.vision.synthetic.sets.canvas import LEAST_SEEN, SCALE, SMALLEST, Canvas
from tests.vision.synthetic.drawing import bounds, rng

MODULES = {"cells": cells, "parts": parts, "fruit": fruit}
OPAQUE = ("parts", "fruit")
SIZE = 160


@pytest.fixture(params=MODULES)
def name(request) -> str:
    return request.param


# --- images


def test_the_same_numbers_draw_the_same_image(name):
    draw = MODULES[name].draw
    one, same, other = draw(rng(1), SIZE), draw(rng(1), SIZE), draw(rng(2), SIZE)
    for field in ("image", "boxes", "classes"):
        np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
    assert (one.image != other.image).mean() > 0.5


def test_an_image_is_as_training_wants_it(name):
    module, seen = MODULES[name], set()
    for seed in range(6):
        drawn = module.draw(rng(seed), SIZE)
        assert drawn.image.shape == (SIZE, SIZE, 3)
        assert drawn.image.dtype == np.uint8
        assert drawn.image.std() > 5, "there is something to see"
        assert drawn.boxes.shape == (len(drawn.classes), 4)
        assert (drawn.boxes >= 0).all()
        assert (drawn.boxes <= SIZE).all()
        assert (drawn.boxes[:, 2:] - drawn.boxes[:, :2] >= SMALLEST).all()
        seen |= set(drawn.classes.tolist())
    assert seen == set(range(len(module.NAMES))), "every class turns up"


@pytest.fixture
def kept(monkeypatch) -> list[tuple[Canvas, Drawn]]:
    """The canvas of each image that is drawn, with what it gave."""
    canvases = []
    finish = Canvas.finish

    def keep(canvas, image):
        canvases.append((canvas, finish(canvas, image)))
        return canvases[-1][1]

    monkeypatch.setattr(Canvas, "finish", keep)
    return canvases


def test_boxes_are_tight_around_the_pixels_that_show(name, kept):
    for seed in range(4):
        MODULES[name].draw(rng(seed), SIZE)
    for canvas, drawn in kept:
        covered = np.zeros((canvas.side, canvas.side), int)
        expected = []
        for one in canvas.objects:
            whole = np.zeros((canvas.side, canvas.side), bool)
            height, width = one.seen.shape
            whole[one.top : one.top + height, one.left : one.left + width] = one.seen
            covered += whole
            if whole.sum() >= LEAST_SEEN * one.area:
                box = bounds(whole) / SCALE
                if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
                    expected.append((one.kind, *box))
        np.testing.assert_array_equal(
            np.column_stack([drawn.classes, drawn.boxes]), np.array(expected, np.float32)
        )
        if name in OPAQUE:
            assert covered.max() == 1, "a pixel shows one object"


# --- in the cache


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """Sets of three images, in a cache of their own."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    for name, chosen in sets.SETS.items():
        few = sets.DrawnSet(chosen.module, {"train": 2, "val": 1}, chosen.seed)
        monkeypatch.setitem(sets.SETS, name, few)
    monkeypatch.setattr(sets, "SIZE", 96)
    return tmp_path / "cache"


@pytest.mark.parametrize("name", sets.SETS)
def test_a_set_is_drawn_once_and_is_good(name, small):
    data = open_data(name)
    assert (data.name, data.origin, data.remarks) == (name, "drawn by labkit", ())
    assert (len(data.train), len(data.val)) == (2, 1)
    assert list(data.names.values()) == list(sets.SETS[name].load().NAMES)
    assert data.yaml.is_relative_to(small)
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert open_data(name).sha256 == data.sha256
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_labels_on_disk_are_the_boxes_that_were_drawn(small):
    data = open_data("parts")
    for index, image in enumerate(data.labelled("train")):
        drawn = parts.draw(np.random.default_rng([0, 0, index]), 96)
        np.testing.assert_allclose(image.corners, drawn.boxes, atol=1e-3)
        np.testing.assert_array_equal(image.classes, drawn.classes)
        stored = cv2.imread(str(image.path))[..., ::-1].astype(int)
        assert np.abs(stored - drawn.image).mean() < 6, "but for what JPEG loses"


def test_other_counts_are_another_set(small):
    first = open_data("cells")
    more = sets.DrawnSet("labkit.vision.synthetic.sets.cells", {"train": 3, "val": 1})
    sets.SETS["cells"] = more  # the fixture puts the old one back
    second = open_data("cells")
    assert second.yaml.parent != first.yaml.parent
    assert len(second.train) == 3
    assert second.train[0].read_bytes() == first.train[0].read_bytes()


def test_a_set_that_was_meddled_with_says_how_to_mend_it(small):
    data = open_data("cells")
    data.train[0].unlink()
    with pytest.raises(LabError, match="will be drawn again") as caught:
        open_data("cells")
    assert str(data.yaml.parent) in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(small):
    small.mkdir()
    small.chmod(0o500)
    with pytest.raises(LabError, match="LABKIT_CACHE"):
        open_data("cells")


def test_a_full_disk_is_told_and_leaves_nothing(small, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LabError, match="No space left on device") as caught:
        open_data("cells")
    assert str(small) in str(caught.value)
    assert not list(small.rglob("*"))


DRAW = """
import sys, time
from labkit.vision.synthetic import sets
sets.SETS["cells"] = sets.DrawnSet("labkit.vision.synthetic.sets.cells", {"train": 4, "val": 1})
sets.SIZE = 96
print("ready", flush=True)
sys.stdin.readline()
print(sets.draw_set("cells"))
"""


def process(cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRAW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "LABKIT_CACHE": str(cache)},
    )


def test_two_processes_at_once_do_not_disturb_each_other(tmp_path):
    both = [process(tmp_path), process(tmp_path)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    paths = {Path(one.communicate(timeout=60)[0].strip()) for one in both}
    assert [one.returncode for one in both] == [0, 0]
    (path,) = paths
    assert len(open_data(path).train) == 4
    assert os.listdir(tmp_path) == [path.parent.name], "nothing else is left"


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_a_kill_in_the_middle_leaves_nothing_that_counts(tmp_path):
    one = process(tmp_path)
    assert one.stdout.readline() == "ready\n"
    one.stdin.write("\n")
    one.stdin.flush()
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.jpg")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(one.pid, signal.SIGKILL)
    one.wait()
    assert not list(tmp_path.glob("cells*")), "what is half made has another name"
    again = process(tmp_path)
    path = Path(again.communicate("\n", timeout=60)[0].split()[-1])
    assert len(open_data(path).train) == 4
