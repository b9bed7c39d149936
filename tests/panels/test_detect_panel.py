from __future__ import annotations

import html
import io
import re
from datetime import UTC, datetime

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from labkit.core.errors import FileError, LabError
from labkit.core.executors import SynchronousExecutor
from labkit.panels import DetectPanel
from labkit.vision import predict, random_like
from tests.vision.networks import detector

SIZE = 64
RNG = np.random.default_rng(0)
IMAGES = {
    "wide": RNG.integers(0, 255, (60, 120, 3), np.uint8),
    "high": RNG.integers(0, 255, (120, 60, 3), np.uint8),
}


def panel(detectors=None, images=IMAGES, **more) -> DetectPanel:
    given = {"imgsz": SIZE, "executor": SynchronousExecutor()}
    return DetectPanel(detectors or detector(), images, **given | more)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", widget.value))


def boxes(spec) -> list[dict]:
    return [trace for trace in spec["data"] if len(trace["x"])]


def assert_shows(one: DetectPanel, shown, image: str, imgsz: int, confidence: float) -> None:
    (found,) = predict(detector(), one.images[image], imgsz=imgsz, confidence=confidence)
    traces = boxes(shown[one.live["picture"]])
    assert len(traces) == min(len(found), 100) > 0
    left, top, right, bottom = found.boxes[0]
    assert [traces[-1]["x"].min(), traces[-1]["x"].max()] == pytest.approx([left, right], abs=0.05)
    assert [traces[-1]["y"].min(), traces[-1]["y"].max()] == pytest.approx([top, bottom], abs=0.05)
    height, width = one.images[image].shape[:2]
    assert f"{width} × {height} pixels, seen at {imgsz}" in words(one.status)


def test_it_shows_the_first_image(shown):
    assert_shows(panel(), shown, "wide", SIZE, 0.25)


def test_every_control_changes_the_picture(shown):
    one = panel()
    one.image_selector.value = "high"
    assert_shows(one, shown, "high", SIZE, 0.25)
    one.size_selector.value = 160
    assert_shows(one, shown, "high", 160, 0.25)
    one.confidence_slider.value = 0.05
    assert_shows(one, shown, "high", 160, 0.05)


def test_confidence_asks_the_network_nothing(shown, monkeypatch):
    one = panel()
    counts = []
    monkeypatch.setattr(one, "_look", None)
    for value in (0.001, 0.25, 0.95):
        one.confidence_slider.value = value
        counts.append(len(one.shown()[""]))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2]


def upload(name: str, content: bytes) -> tuple[dict, ...]:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    facts = {"name": name, "type": "", "size": len(content), "last_modified": when}
    return ({**facts, "content": memoryview(content)},)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_a_photograph_of_the_readers_own_is_shown_at_once(shown):
    one = panel()
    one.upload.value = upload("mine.png", png(IMAGES["high"]))
    assert one.image_selector.value == one.image == "mine.png"
    assert list(one.image_selector.options) == ["wide", "high", "mine.png"]
    assert_shows(one, shown, "mine.png", SIZE, 0.25)
    one.upload.value = upload("mine.png", png(IMAGES["wide"]))  # another one of that name
    assert_shows(one, shown, "mine.png", SIZE, 0.25)
    assert one.images["mine.png"].shape == (60, 120, 3)
    assert one.upload.value == (), "a photograph does not stay in the widget's state"


def test_a_file_that_is_no_image_is_explained_and_nothing_else_changes(shown):
    one = panel()
    one.upload.value = upload("notes<b>.txt", b"hello")
    assert "notes<b>.txt" in html.unescape(one.message.value)
    assert "<b>" not in one.message.value, "a file's name is no markup"
    assert "not an image" in words(one.message)
    assert one.image_selector.value == "wide"
    one.upload.value = upload("mine.png", png(IMAGES["high"]))
    assert words(one.message).strip() == ""


def test_several_detectors_stand_side_by_side(shown):
    one = detector()
    both = {"trained": one, "random": random_like(one)}
    pair = panel(both, confidence=0.0005)
    spec = shown[pair.live["picture"]]
    titles = [a["text"] for a in spec["layout"]["annotations"] if ":" in a["text"]]
    assert [title.partition(":")[0] for title in titles] == ["trained", "random"]
    assert {trace["xaxis"] for trace in boxes(spec)} == {"x", "x2"}


def test_without_a_person_it_shows_a_plain_figure(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel(interactive=False)
    assert not hasattr(one, "widget")
    one._ipython_display_()
    (figure,) = displayed
    assert isinstance(figure, go.Figure)
    assert figure.layout.images[0].source.startswith("data:image/jpeg;base64,")


def test_photographs_come_with_it(shown):
    one = panel(images=None)
    assert list(one.images) == ["bus.jpg", "zidane.jpg"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"images": {}}, LabError, "needs an image"),
        ({"images": {"a": "nowhere.jpg"}}, FileError, "nowhere.jpg"),
        ({"confidence": 25.0}, LabError, "choose 0 to 1"),
    ],
)
def test_slips_are_answered(given, error, said):
    with pytest.raises(error, match=said):
        panel(**given)
