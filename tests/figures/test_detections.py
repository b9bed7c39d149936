from __future__ import annotations

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from labkit import figures
from labkit.figures.detections import BOXES, LABELS, SIDE, color_of, photo
from labkit.panels.live_figure import pack
from labkit.vision.detections import Detections

RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 255, (40, 80, 3), np.uint8)
HIGH = RNG.integers(0, 255, (90, 30, 3), np.uint8)
NAMES = {k: f"kind {k}" for k in range(20)}


def some(count: int, size: int = 30, **more) -> Detections:
    corner = RNG.uniform(0, size / 2, (count, 2))
    boxes = np.hstack([corner, corner + RNG.uniform(2, size / 2, (count, 2))]).astype(np.float32)
    scores = np.sort(RNG.uniform(0.3, 1, count))[::-1].astype(np.float32)
    return Detections(boxes, scores, np.arange(count) % 20, NAMES, **more)


def outlines(spec, axis="x"):
    return [t for t in spec["data"] if len(t["x"]) and t["xaxis"] == axis]


def test_each_image_has_its_boxes_in_its_own_pixels():
    left, right = some(3), some(2)
    spec = figures.detections.spec({"a": (WIDE, left), "b": (HIGH, right)})
    go.Figure(spec)
    pack(spec)
    for axis, found in (("x", left), ("x2", right)):
        traces = outlines(spec, axis)[::-1]
        for trace, box in zip(traces, found.boxes, strict=True):
            assert (min(trace["x"]), min(trace["y"]), max(trace["x"]), max(trace["y"])) == tuple(
                box
            )
    layout = spec["layout"]
    assert (layout["xaxis"]["range"], layout["yaxis"]["range"]) == ([0, 80], [40, 0])
    assert (layout["xaxis2"]["range"], layout["yaxis2"]["range"]) == ([0, 30], [90, 0])
    assert [image["sizex"] for image in layout["images"]] == [80, 30]
    assert layout["xaxis"]["domain"][1] < layout["xaxis2"]["domain"][0]
    assert layout["yaxis2"]["scaleanchor"] == "x2", "squares stay square"


def test_the_surest_lies_on_top_and_tells_what_it_is():
    found = some(2)
    top = outlines(figures.detections.spec({"a": (WIDE, found)}))[-1]
    assert top["text"].startswith(f"kind 0<br>score {found.scores[0]:.3f}")
    assert top["fill"] == "toself", "hovering inside is enough"


def test_confidence_leaves_out_and_the_title_counts():
    found = some(5)
    spec = figures.detections.spec({"a": (WIDE, found)}, confidence=float(found.scores[1]))
    assert len(outlines(spec)) == 2
    assert spec["layout"]["annotations"][-1]["text"] == "a: 2 found"
    none = figures.detections.spec({"a": (WIDE, found)}, confidence=1.0)
    assert none["layout"]["annotations"][-1]["text"] == "a: nothing found"
    assert len(none["data"]) == 1, "an empty trace keeps the axes"
    go.Figure(none)


def test_of_very_many_the_surest_are_drawn_and_the_title_says_so():
    spec = figures.detections.spec({"a": (WIDE, some(BOXES + 50))})
    assert len(spec["data"]) == BOXES
    assert len(spec["layout"]["annotations"]) == LABELS + 1
    assert f"{BOXES + 50} found ({BOXES} drawn)" in str(spec["layout"]["annotations"])


def test_a_class_has_one_look_and_neighbours_have_others():
    assert len({color_of(k) for k in range(20)}) == 20
    found = some(21)
    spec = figures.detections.spec({"a": (WIDE, found), "b": (HIGH, found)})
    looks = {t["name"]: (t["line"]["color"], t["line"]["dash"]) for t in outlines(spec, "x")}
    assert looks == {
        t["name"]: (t["line"]["color"], t["line"]["dash"]) for t in outlines(spec, "x2")
    }


def test_without_words_a_legend_names_each_class_once():
    found = some(40)
    spec = figures.detections.spec({"a": (WIDE, found), "b": (HIGH, found)}, words=False)
    listed = [t["name"] for t in spec["data"] if t["showlegend"]]
    assert sorted(listed) == sorted(NAMES.values())
    assert len(spec["layout"]["annotations"]) == 2


def test_words_can_be_read_on_their_colour():
    spec = figures.detections.spec({"a": (WIDE, some(8))})
    inks = {a["bgcolor"]: a["font"]["color"] for a in spec["layout"]["annotations"][:-1]}
    assert inks["#0072B2"] == "#ffffff"
    assert inks["#F0E442"] == "#000000"


def test_words_stay_within_the_image():
    boxes = np.array([[1, 0, 20, 10], [70, 5, 79, 30], [75, 8, 90, 30]], np.float32)
    found = Detections(boxes, np.full(3, 0.5), np.zeros(3, np.int64), NAMES)
    spec = figures.detections.spec({"a": (WIDE, found)})
    last, second, first = spec["layout"]["annotations"][:-1]
    assert (first["x"], first["xanchor"], first["yanchor"]) == (1, "left", "top")
    assert (second["x"], second["xanchor"], second["yanchor"]) == (79, "right", "bottom")
    assert (last["x"], last["xanchor"]) == (80, "right")


def test_words_stay_off_the_title():
    boxes = np.array([[10, 1, 20, 10], [10, 25, 20, 30]], np.float32)
    found = Detections(boxes, np.full(2, 0.5), np.zeros(2, np.int64), NAMES)
    spec = figures.detections.spec({"a": (WIDE, found)})
    low, high = spec["layout"]["annotations"][:-1]
    assert (high["yanchor"], low["yanchor"]) == ("top", "bottom")


def test_polygons_and_keypoints_are_drawn():
    polygon = np.array([[1, 1], [20, 2], [10, 25]], np.float32)
    spec = figures.detections.spec({"a": (HIGH, some(1, outlines=(polygon,)))})
    (trace,) = outlines(spec)
    np.testing.assert_array_equal(np.stack([trace["x"], trace["y"]], 1)[:3], polygon)
    points = np.array([[[5, 6, 0.9], [7, 8, 0.1]]], np.float32)
    spec = figures.detections.spec({"a": (HIGH, some(1, keypoints=points))})
    marks = [t for t in spec["data"] if t["mode"] == "markers"]
    assert (list(marks[0]["x"]), list(marks[0]["y"])) == ([5], [6])


def test_an_image_travels_small_and_is_the_image():
    large = np.kron(RNG.integers(0, 255, (20, 30, 3), np.uint8), np.ones((100, 100, 1), np.uint8))
    one = photo(large)
    assert (one.width, one.height) == (3000, 2000)
    content = base64.b64decode(one.source.partition(",")[2])
    seen = Image.open(io.BytesIO(content))
    assert seen.size == (SIDE, SIDE * 2 // 3)
    centre = np.asarray(seen)[16::32, 16::32].astype(int)
    assert np.abs(centre - large[50::100, 50::100]).mean() < 4


@pytest.mark.parametrize("image", [WIDE, HIGH, photo(WIDE)])
def test_the_figure_is_as_high_as_its_image_needs(image):
    spec = figures.detections.spec({"a": (image, some(1))})
    assert 300 < spec["layout"]["height"] <= 604
