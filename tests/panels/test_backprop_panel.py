from __future__ import annotations

import html
import re

import plotly.graph_objects as go
import pytest

from labkit.core.errors import LabError
from labkit.panels import BackpropPanel
from labkit.panels.backprop_panel import MANY, SHORT
from labkit.toys.gradients.backprop import STAGES, TinyNetwork, descend

NETWORK = TinyNetwork.draw(0)
DATA = (1.0, -0.5, 1.0)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", widget.value))


def caption(spec) -> str:
    return re.sub("<[^>]*>", "", spec["layout"]["annotations"][0]["text"])


def test_next_goes_through_the_stages_and_back_returns(shown):
    panel = BackpropPanel(NETWORK)
    seen = [panel.stage]
    assert panel.buttons["Back"].disabled
    for _ in range(len(STAGES) - 1):
        panel.buttons["Next"].click()
        seen.append(panel.stage)
        number = len(seen)
        assert caption(shown[panel.live["passes"]]).startswith(f"{number} · {STAGES[panel.stage]}")
        assert f"stage {number} of 8" in words(panel.status)
    assert seen == list(STAGES)
    assert panel.network == NETWORK, "looking changes nothing"
    panel.buttons["Back"].click()
    assert panel.stage == "step"


def test_next_after_the_last_stage_is_one_update(shown):
    panel = BackpropPanel(NETWORK, lr=0.2, stage="again")
    panel.buttons["Next"].click()
    expected, losses = descend(NETWORK, *DATA, 0.2, 1)
    assert panel.network == expected
    assert panel.losses == pytest.approx(losses)
    assert panel.stage == "hidden"
    assert "1 update made" in words(panel.status)
    assert shown[panel.live["losses"]]["data"][0]["y"].tolist() == pytest.approx(losses)


def test_many_updates_and_rewind(shown):
    panel = BackpropPanel(NETWORK)
    panel.buttons[f"{MANY} updates"].click()
    expected, losses = descend(NETWORK, *DATA, 0.1, MANY)
    assert panel.network == expected
    assert panel.losses == pytest.approx(losses)
    panel.buttons["Rewind"].click()
    assert panel.network == NETWORK
    assert panel.losses == losses[:1]
    assert panel.buttons["Rewind"].disabled


def test_the_formulas_are_those_of_the_stage(shown):
    panel = BackpropPanel(NETWORK, stage="back_hidden")
    assert "dL/dz1" in words(panel.formulas)
    assert "dL/dw11" not in words(panel.formulas)
    panel.buttons["Next"].click()
    worked = NETWORK.run(*DATA).numbers["dL/dw12"]
    assert f"{worked.formula} = {worked.filled}" in words(panel.formulas)
    panel.buttons["Next"].click()
    assert "new v1" in words(panel.formulas)


def test_sliders_ask_another_question_of_the_same_weights(shown):
    panel = BackpropPanel(NETWORK)
    panel.buttons[f"{MANY} updates"].click()
    moved = panel.network
    panel.controls["lr"].value = 0.5
    assert len(panel.losses) == MANY + 1, "another lr changes no loss"
    panel.controls["x1"].value = -1.0
    assert panel.network == moved
    assert panel.losses == [pytest.approx(moved.run(-1.0, -0.5, 1.0).loss)]
    panel.controls["target"].value = 0.0
    assert panel.trace()["t"] == 0.0
    panel.controls["activation"].value = "relu"
    assert panel.network.activation == "relu"
    panel.buttons["Rewind"].click()
    assert panel.network == NETWORK.replace(activation="relu")


def test_a_wild_learning_rate_is_said_and_nothing_breaks(shown):
    panel = BackpropPanel(NETWORK.replace(activation="relu"), x1=2.0, x2=2.0, lr=3.0)
    for _ in range(5):
        panel.buttons[f"{MANY} updates"].click()
    assert "lr=3 is too large, try 0.3" in words(panel.message)
    assert panel.losses[-1] < 1e12
    panel.controls["lr"].value = 0.01
    assert words(panel.message).strip() == ""


def test_without_a_person_each_main_stage_has_a_picture(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = BackpropPanel(NETWORK, updates=7, interactive=False)
    assert not hasattr(panel, "widget")
    panel._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure] * (len(SHORT) + 1)
    labels = [figure.layout.meta["label"] for figure in displayed]
    assert all(stage in label for stage, label in zip(SHORT, labels, strict=False))
    assert len(displayed[-1].data[0].y) == 8
    assert panel.losses == descend(NETWORK, *DATA, 0.1, 7)[1]
    before, after = panel.losses[:2]
    assert f"from {before:.3f} to {after:.3f}" in displayed[-2].layout.annotations[0].text


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = BackpropPanel()
    panel._ipython_display_()
    assert displayed == [panel.widget]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"stage": "sideways"}, ["stage='sideways'", "back_inputs"]),
        ({"x1": 7.0}, ["x1=7.0", "-2 to 2"]),
        ({"lr": 0.0}, ["lr=0.0", "0.01 to 3"]),
        ({"target": "one"}, ["target='one'"]),
        (
            {"lr": 3.0, "updates": 200, "network": TinyNetwork(activation="relu"), "x1": 2.0},
            ["is too large"],
        ),
    ],
    ids=range(5),
)
def test_slips_are_explained(given, parts):
    with pytest.raises(LabError) as refused:
        BackpropPanel(**given, interactive=False)
    for part in parts:
        assert part in str(refused.value)
