from __future__ import annotations

import html
import re
import threading

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor
from labkit.panels import BreakPanel, break_panel
from labkit.vision import evaluate, predict
from labkit.vision.perturbation import amounts, damageable
from labkit.weights import DAMAGES, Damage, perturbed
from tests.panels.together import edit_together
from tests.vision.networks import data_set, detector

SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("data"), val=4, size=SIZE)


def panel(data, **more) -> BreakPanel:
    given = {"imgsz": SIZE, "limit": 4, "executor": SynchronousExecutor()}
    return BreakPanel(detector(), data, **given | more)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", widget.value))


def wanted(data, damage: Damage) -> float:
    """mAP50 of another copy of the network, damaged by the library itself."""
    one = detector()
    with perturbed(one.model, damage):
        return evaluate(one, data, imgsz=SIZE).map50


def now(spec) -> tuple[float, float]:
    (point,) = [trace for trace in spec["data"] if trace["name"] == "now"]
    return point["x"][0], point["y"][0]


def test_it_starts_whole(data, shown):
    one = panel(data)
    whole = wanted(data, Damage("noise", 0.0))
    assert whole > 0
    assert one.before.map50 == one.metrics.map50 == whole
    assert one.mended()
    assert "bit for bit" in words(one.status)
    assert now(shown[one.live["curve"]]) == (0, whole)
    assert len(shown[one.live["boxes"]]["layout"]["images"]) == 2


def test_every_kind_of_damage_is_done_measured_and_undone(data, shown):
    one = panel(data)
    whole = {name: tensor.clone() for name, tensor in one.detector.tensors.items()}
    layer = damageable(one.detector)[0]
    one.layer_selector.value = (layer,)
    for kind, entry in DAMAGES.items():
        one.kind_selector.value = kind
        assert one.damage.amount == entry.traits["unharmed"]
        assert one.mended(), kind
        assert entry.formula in words(one.formula)
        knob = entry.parameters()["amount"]
        assert (one.amount_slider.min, one.amount_slider.max) == (knob.low, knob.high)
        one.amount_slider.value = 0.9
        assert one.damage == Damage(kind, 0.9, (layer,))
        assert one.metrics.map50 == pytest.approx(wanted(data, one.damage), abs=1e-6)
        assert now(shown[one.live["curve"]]) == (0.9, one.metrics.map50)
        assert f"{kind} 0.9 in {layer}" in words(one.status)
        assert not one.mended()
        assert not torch.equal(
            one.detector.tensors[f"{layer}.conv.weight"], whole[f"{layer}.conv.weight"]
        )
        one.buttons["Undo"].click()
        assert one.mended()
        assert one.amount_slider.value == entry.traits["unharmed"]
        assert one.metrics.map50 == one.before.map50
        assert "bit for bit" in words(one.status)


def test_the_detector_that_was_given_is_never_touched(data, shown):
    given = detector()
    before = {name: tensor.clone() for name, tensor in given.tensors.items()}
    one = BreakPanel(given, data, imgsz=SIZE, limit=2, executor=SynchronousExecutor())
    one.amount_slider.value = 1.0
    assert all(torch.equal(before[name], tensor) for name, tensor in given.tensors.items())


def test_arguments_of_a_kind_have_controls_of_their_own(data, shown):
    one = panel(data)
    one.layer_selector.value = ("model.0",)
    assert one.arguments.children == ()
    one.kind_selector.value = "zero channels"
    (field,) = one.arguments.children
    one.amount_slider.value = 0.5
    field.value = 3
    assert one.damage.arguments == {"channel": 3}
    rows = one.detector.tensors["model.0.conv.weight"].abs().sum((1, 2, 3))
    assert [k for k, row in enumerate(rows) if row == 0] == [3]
    one.kind_selector.value = "noise"
    assert one.arguments.children == ()
    assert one.damage.arguments == {}


def test_a_channel_that_is_not_there_is_explained(data, shown):
    one = panel(data)
    one.kind_selector.value = "zero channels"
    one.layer_selector.value = ("model.0",)
    one.arguments.children[0].value = 5000
    assert "is not there" in words(one.message)
    one.buttons["Undo"].click()
    assert words(one.message).strip() == ""
    assert one.mended()
    assert one.arguments.children[0].value == -1


def test_a_new_seed_is_the_next_one(data, shown):
    one = panel(data, damage=Damage("noise", 0.5))
    first = one.detector.tensors["model.0.conv.weight"].clone()
    one.buttons["New seed"].click()
    assert one.damage.seed == 1
    assert not torch.equal(one.detector.tensors["model.0.conv.weight"], first)
    names = [trace["name"] for trace in shown[one.live["curve"]]["data"]]
    assert {"noise in all layers", "noise in all layers, seed 1"} <= set(names)


def test_the_curve_is_drawn_and_the_damage_stays(data, shown):
    one = panel(data, damage=Damage("prune", 0.4, ("model.0",)))
    before = {name: tensor.clone() for name, tensor in one.detector.tensors.items()}
    one.buttons["Draw the curve"].click()
    (curve,) = [t for t in shown[one.live["curve"]]["data"] if t["name"] == "prune in model.0"]
    assert list(curve["x"]) == sorted({*amounts("prune"), 0.4})
    for x, y in zip(curve["x"], curve["y"], strict=True):
        assert y == pytest.approx(wanted(data, Damage("prune", x, ("model.0",))), abs=1e-6)
    assert all(torch.equal(before[name], t) for name, t in one.detector.tensors.items())
    assert now(shown[one.live["curve"]])[0] == 0.4


def test_another_image_is_looked_at_whole_and_damaged(data, shown):
    one = panel(data)
    one.amount_slider.value = 0.3
    name = list(one.images)[1]
    one.image_selector.value = name
    assert one.image == name
    healthy = panel(data, images={name: one.images[name]})
    assert (one.found_before.boxes == healthy.found.boxes).all()
    assert one.damage.amount == 0.3
    assert not one.mended()


def test_while_one_change_is_measured_only_the_last_waits(data, shown, monkeypatch):
    """A dragged slider asks faster than a detector answers: boxes first, mAP when it rests."""
    one = BreakPanel(detector(), data, imgsz=SIZE, limit=2)
    began, may_end, done = threading.Event(), threading.Event(), threading.Event()
    found, measured = [], []
    find, measure = one._find, one._measure

    def slow():
        found.append(one._perturbation.damages[0].amount)
        began.set()
        assert may_end.wait(20)
        return find()

    def count():
        measured.append(one._perturbation.damages[0].amount)
        result = measure()
        done.set()
        return result

    monkeypatch.setattr(one, "_find", slow)
    monkeypatch.setattr(one, "_measure", count)
    one.amount_slider.value = 0.1
    assert began.wait(20)
    for amount in (0.2, 0.3, 0.4):
        one.amount_slider.value = amount
    may_end.set()
    assert done.wait(20)
    assert found == [0.1, 0.4]
    assert measured == [0.4]


def test_without_a_person_it_shows_boxes_and_a_whole_curve(data, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel(data, damage=Damage("prune", 0.3), interactive=False)
    assert not hasattr(one, "widget")
    assert one.restored
    one._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure, go.Figure]
    (curve,) = [t for t in displayed[1].data if t.name == "prune in all layers"]
    assert set(amounts("prune")) <= set(curve.x)


def test_damage_that_does_not_fit_is_refused(data):
    with pytest.raises(LabError, match=r"model\.99"):
        panel(data, damage=Damage("noise", 0.5, ("model.99",)))
    with pytest.raises(LabError, match="needs an image"):
        panel(data, images={})


def test_boxes_are_those_that_the_detector_is_sure_enough_of(data, shown, monkeypatch):
    one = panel(data)
    surer = float(np.median(one.found.scores))
    assert surer > break_panel.SHOWN
    (wanted,) = predict(detector(), one.images[one.image], imgsz=SIZE, confidence=surer)
    monkeypatch.setattr(break_panel, "SHOWN", surer)
    found = panel(data).found
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert 0 < len(found) < len(one.found)


def test_of_two_edits_at_once_none_is_lost(data, shown, monkeypatch):
    one = panel(data)
    edit_together(
        monkeypatch,
        one,
        "_with",
        lambda: setattr(one.layer_selector, "value", ("model.0",)),
        lambda: setattr(one.amount_slider, "value", 0.5),
    )
    assert one.damage == Damage("noise", 0.5, ("model.0",))
    assert (one.layer_selector.value, one.amount_slider.value) == (("model.0",), 0.5)
