from __future__ import annotations

import re

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit import figures
from labkit.panels.live_figure import pack
from labkit.toys.gradients.backprop import STAGES, TINY_ACTIVATIONS, WEIGHTS, TinyNetwork

TRACE = TinyNetwork.draw(0).run(1.0, -0.5, 1.0)
NEXT, MOVED = TRACE.step(0.1)
AGAIN = NEXT.run(1.0, -0.5, 1.0)


def spec(stage, trace=TRACE, **more):
    if stage in ("step", "again"):
        network, moved = trace.step(0.1)
        more = {"moved": moved, "again": network.run(1.0, -0.5, 1.0), **more}
    return figures.backward_pass.spec(trace, stage, **more)


def texts(spec, name):
    trace = next(t for t in spec["data"] if t["name"] == name)
    return [text for text in trace["text"] if re.sub("<[^>]*>|\xa0", "", text)]


def hovers(spec):
    return [text for t in spec["data"] for text in t.get("customdata", []) if text]


@pytest.mark.parametrize("activation", TINY_ACTIVATIONS)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_a_valid_figure(stage, activation):
    made = spec(stage, TinyNetwork.draw(3, activation).run(0.0, 2.0, -1.0), caption="Here")
    go.Figure(made)
    pack(made)
    assert stage in made["layout"]["meta"]["label"]
    assert made["layout"]["annotations"][0]["text"] == "Here"
    for t in made["data"]:
        assert len(t["x"]) == len(t["y"]) == len(t.get("text", t["x"]))


def test_numbers_appear_when_they_are_known():
    unknown = {stage: texts(spec(stage), "values").count("?") for stage in STAGES}
    assert list(unknown.values()) == [2, 1, 0, 0, 0, 0, 0, 0]
    gradients = {stage: len(texts(spec(stage), "gradients")) for stage in STAGES}
    # dL/dy, v1, v2, c; then a1, z1, a2, z2; then four weights and two biases
    assert list(gradients.values()) == [0, 0, 0, 4, 8, 14, 14, 0]


def test_circles_hold_the_values():
    def plain(made):
        return [float(t.strip("</b>")) for t in texts(made, "values")]

    names = ("x1", "x2", "z1", "z2", "a1", "a2", "y", "loss")
    assert plain(spec("error")) == pytest.approx([TRACE[n] for n in names], abs=6e-4)
    assert plain(spec("again")) == pytest.approx([AGAIN[n] for n in names], abs=6e-4)


def test_every_number_can_be_hovered_with_its_formula():
    said = hovers(spec("back_inputs"))
    for name, number in TRACE.numbers.items():
        if not name.startswith("f'"):
            assert number.text in said, name
    assert {n.text for n in MOVED} <= set(hovers(spec("step")))


def test_the_step_shows_old_and_new():
    words = texts(spec("step"), "weights")
    assert len(words) == len(WEIGHTS)
    assert "v1: 0.2 → <b>0.067</b>" in words
    assert all("→" in word for word in words)
    assert "→" not in "".join(texts(spec("error"), "weights"))
    assert f"loss before: {TRACE.loss:.3f}" in "".join(texts(spec("again"), "target and error"))


def test_edges_have_the_colour_of_the_sign_and_the_width_of_the_size():
    lines = {t["name"]: t["line"] for t in spec("error")["data"] if t["mode"] == "lines"}
    network = TRACE.network
    for name in WEIGHTS:
        positive = getattr(network, name) > 0
        assert lines[name]["color"] == (
            figures.backprop.theme.POSITIVE if positive else figures.backprop.theme.NEGATIVE
        )
    widths = [lines[name]["width"] for name in WEIGHTS]
    sizes = [abs(getattr(network, name)) for name in WEIGHTS]
    assert np.argsort(widths, kind="stable").tolist() == np.argsort(sizes, kind="stable").tolist()


def test_labels_do_not_lie_on_each_other():
    """Of any two pieces of text, in a figure 900 pixels wide, none covers another's middle."""
    for stage in STAGES:
        made = spec(stage)
        (x0, x1), (y0, y1) = (made["layout"][k]["range"] for k in ("xaxis", "yaxis"))
        spots = [
            (x * 880 / (x1 - x0), y * 380 / (y1 - y0), text)
            for t in made["data"]
            if "text" in t["mode"]
            for x, y, text in zip(t["x"], t["y"], t["text"], strict=True)
            if text.strip("\xa0")
        ]
        for i, (xa, ya, a) in enumerate(spots):
            for xb, yb, b in spots[i + 1 :]:
                assert abs(xa - xb) > 26 or abs(ya - yb) > 11, (stage, a, b)


def test_no_text_is_ever_empty():
    """Plotly would take it away and not bring it back."""
    for stage in STAGES:
        for t in spec(stage)["data"]:
            assert all(t.get("text", ["?"])), (stage, t["name"])


def test_the_loss_over_updates():
    made = figures.updates_loss.spec([4.0, 2.0, 1.0])
    go.Figure(made)
    assert made["data"][0]["y"].tolist() == [4.0, 2.0, 1.0]
    assert made["layout"]["xaxis"]["range"][1] >= 10
    assert figures.updates_loss.spec([0.0])["layout"]["yaxis"]["range"][1] > 0
