from __future__ import annotations

import html
import re

import plotly.graph_objects as go
import pytest
import torch

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor
from labkit.panels import QuantizePanel
from labkit.panels.quantize_views import CURVE
from labkit.quantize import calibrate, fake_quantized, folded, grid, sensitivity
from labkit.vision import evaluate, open_data
from tests.quantize.networks import settled
from tests.vision.finetuning import tiny

SIZE = 64
LAYER = "model.2.cv1.conv.weight"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_data(tiny.data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return settled(tmp_path_factory.mktemp("w"))


def panel(*given, **more) -> QuantizePanel:
    return QuantizePanel(*given, **{"imgsz": SIZE, "executor": SynchronousExecutor()} | more)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", widget.value))


def trace(spec, name):
    (found,) = [one for one in spec["data"] if one["name"] == name]
    return found


def test_without_data_it_is_a_microscope_for_any_file(tmp_path, shown):
    one = panel(tiny.weights(tmp_path / "some.safetensors"), tensor=LAYER)
    values = one.tensors[LAYER]
    assert set(one.live) == {"grid"}
    for bits in (2, 8, "e4m3"):
        one.bits_slider.value = bits
        wanted = grid(values, bits)
        assert torch.equal(one.grid.dequantized, wanted.dequantized)
        error = trace(shown[one.live["grid"]], "error")
        assert max(abs(error["y"])) == pytest.approx(float(wanted.error[0].abs().max()), rel=1e-5)
        assert f"{wanted.sqnr:.4g}" in words(one.facts_box)
    one.zero_selector.value = "affine"
    one.per_selector.value = "tensor"
    one.range_selector.value = "mse"
    assert str(one.choice.scheme) == "affine tensor mse"
    assert torch.equal(one.grid.dequantized, grid(values, "e4m3", "affine tensor mse").dequantized)
    assert one.channel_slider.disabled


def test_channels_are_looked_at_one_by_one(tmp_path, shown):
    one = panel(tiny.weights(tmp_path / "some.safetensors"), tensor=LAYER)
    assert one.channel_slider.max == len(one.tensors[LAYER]) - 1
    one.channel_slider.value = 3
    title = shown[one.live["grid"]]["layout"]["xaxis"]["title"]["text"]
    assert "channel 3 of" in title
    one.tensor_selector.value = "model.2.cv1.bn.bias"  # a channel would be a single value
    assert one.grid.scheme.per == "tensor"
    assert one.choice.scheme.per == "channel"
    assert one.channel_slider.value == 0


def test_a_slip_is_told_and_the_last_picture_stays(tmp_path, shown):
    one = panel(tiny.weights(tmp_path / "some.safetensors"))
    one.range_selector.value = "entropy"
    before = one.choice
    one.bits_slider.value = "e5m2"
    assert "entropy ranges need integer levels" in words(one.message)
    assert one.choice == before
    one.bits_slider.value = 3
    assert words(one.message) == ""
    assert one.choice.bits == 3


def test_the_detector_follows_and_the_one_that_was_given_is_left_alone(detector, data, shown):
    whole = {name: tensor.clone() for name, tensor in detector.tensors.items()}
    one = panel(detector, data, bits=8)
    measured = []
    measure = one._measure
    one._measure = lambda rounded: measured.append(rounded) or measure(rounded)
    one.bits_slider.value = 3
    one.head_box.value = False
    wanted = fake_quantized(detector, 3, head=False)
    assert all(
        torch.equal(tensor, one._rounded.tensors[name]) for name, tensor in wanted.tensors.items()
    )
    assert one.metrics.map == evaluate(wanted, data, "val", 20, SIZE).map
    assert len(measured) == 2
    one.tensor_selector.value = LAYER  # the detector does not depend on that
    one.channel_slider.value = 1
    assert len(measured) == 2
    one.activations_box.value = True
    assert len(measured) == 3
    seen = calibrate(folded(detector), data, imgsz=SIZE)
    both = fake_quantized(detector, 3, head=False, activations=seen)
    x = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(
            one._rounded.model(x)[1]["one2many"], both.model(x)[1]["one2many"]
        )
    assert "head in float, activations 8 bits" in words(one.status)
    assert {t["name"] for t in shown[one.live["curve"]]["data"]} > {
        "symmetric channel min-max",
        "symmetric channel min-max, head in float",
    }
    assert len(shown[one.live["boxes"]]["layout"]["images"]) == 2
    assert all(torch.equal(whole[name], tensor) for name, tensor in detector.tensors.items())


def test_the_curve_and_the_layers_come_on_a_button(detector, data, shown):
    one = panel(detector, data, bits=3, scheme="symmetric tensor")
    assert one.live["layers"].layout.display == "none"
    one.buttons["Draw the curve"].click()
    curve = trace(shown[one.live["curve"]], "symmetric tensor min-max")
    assert curve["x"] == [str(bits) for bits in CURVE]
    one.buttons["Which layer hurts most?"].click()
    wanted = sensitivity(detector, data, 3, "symmetric tensor", imgsz=SIZE)
    assert [layer.name for layer in one.sensitivity.layers] == [o.name for o in wanted.layers]
    assert one.sensitivity.whole_sqnr == pytest.approx(wanted.whole_sqnr, abs=0.1)
    assert one.live["layers"].layout.display is None
    assert shown[one.live["layers"]]["data"]
    assert "one layer at a time" in words(one.status)


def test_another_image_is_looked_at_before_and_after(detector, data, shown):
    one = panel(detector, data)
    name = list(one.images)[1]
    one.image_selector.value = name
    alone = panel(detector, data, images={name: one.images[name]})
    assert (one.found.boxes == alone.found.boxes).all()
    assert (one.found_before.boxes == alone.found_before.boxes).all()


def test_pictures_say_what_they_are_of_and_not_what_comes(detector, data, shown, monkeypatch):
    """While the next choice is computed, boxes and figures are those of the last one."""
    one = panel(detector, data, bits=8)
    told = []
    measure = one._measure

    def look(rounded):
        told.append(one.words()[0])
        return measure(rounded)

    monkeypatch.setattr(one, "_measure", look)
    before = one.words()
    assert before[0].startswith("Weights at 8 bits")
    one.bits_slider.value = 2
    assert told == before
    assert one.words()[0].startswith("Weights at 2 bits")
    one.image_selector.value = list(one.images)[1]
    assert len(told) == 1  # the same weights on the same images
    assert one._boxes_of == (one.choice.image, (2, one.choice.recipe))


def test_an_image_that_was_passed_over_is_not_taken_for_the_last(detector, data, shown):
    one = panel(detector, data, bits=8)
    first, second = list(one.images)[:2]
    overtaken = one._overtaken
    one._overtaken = lambda: True
    one.image_selector.value = second
    assert one._boxes_of[0] == first
    one._overtaken = overtaken
    one.bits_slider.value = 4
    alone = panel(detector, data, bits=4, images={second: one.images[second]})
    assert (one.found_before.boxes == alone.found_before.boxes).all()
    assert (one.found.boxes == alone.found.boxes).all()


def test_without_a_person_all_pictures_are_plain_figures(detector, data, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel(detector, data, bits=4, interactive=False)
    assert not hasattr(one, "widget")
    one._ipython_display_()
    assert [type(figure) for figure in displayed[1:]] == [go.Figure] * 4
    assert set(one.figures()) == {"grid", "boxes", "curve", "layers"}
    assert len(one.sensitivity.layers) == one.sensitivity.total
    brief = panel(detector, data, interactive=False, layers=False)
    assert set(brief.figures()) == {"grid", "boxes", "curve"}
    file = panel(detector, interactive=False)
    assert set(file.figures()) == {"grid"}
    assert file.words() == []


def test_what_does_not_fit_is_refused(detector, data):
    with pytest.raises(LabError, match=r"did you mean 'model\.0\.conv\.weight'"):
        panel(detector, tensor="model.0.conv.weigt")
    with pytest.raises(LabError, match="bits=1 "):
        panel(detector, bits=1)
    with pytest.raises(LabError, match="needs an image"):
        panel(detector, data, images={})
    with pytest.raises(LabError, match="give data"):
        panel(detector, images={"mine": data.val[0]})
