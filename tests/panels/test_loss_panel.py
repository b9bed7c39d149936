from __future__ import annotations

import html
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.core.errors import LabError, RecipeError
from labkit.panels import LossPanel
from labkit.toys.gradients.losses import evaluate


@pytest.fixture
def displayed(monkeypatch):
    objects: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *found: objects.extend(found))
    return objects


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def names(spec) -> list[str]:
    return [trace["name"] for trace in spec["data"] if "," not in trace["name"]]


def spot(spec, name) -> tuple[float, float]:
    trace = next(t for t in spec["data"] if t["name"] == f"{name}, here")
    return float(trace["x"][0]), float(trace["y"][0])


def test_it_starts_where_it_is_told(shown):
    panel = LossPanel(["huber", "mse"], target=-1.0, prediction=2.0, delta=0.5)
    assert panel.losses == ("mse", "huber"), "in the order of the registry"
    assert panel.controls["target"].value == -1.0
    assert panel.controls["prediction"].value == 2.0
    assert panel.controls["delta"].value == 0.5
    assert [name for name, box in panel.boxes.items() if box.value] == ["mse", "huber"]
    assert (
        names(shown[panel.live["values"]]) == names(shown[panel.live["slopes"]]) == ["mse", "huber"]
    )
    assert spot(shown[panel.live["values"]], "mse") == (2.0, 9.0)
    assert spot(shown[panel.live["slopes"]], "huber") == (2.0, 0.5)


def test_sliders_move_the_point_and_the_curves(shown):
    panel = LossPanel()
    panel.controls["prediction"].value = -1.5
    assert spot(shown[panel.live["slopes"]], "mse") == (-1.5, pytest.approx(-3.0))
    panel.controls["target"].value = 1.0
    assert spot(shown[panel.live["values"]], "l1") == (-1.5, pytest.approx(2.5))
    panel.controls["delta"].value = 2.0
    assert spot(shown[panel.live["slopes"]], "huber") == (-1.5, pytest.approx(-2.0))
    curve = next(t for t in shown[panel.live["values"]]["data"] if t["name"] == "huber")
    expected, _ = evaluate("huber", curve["x"], 1.0, {"delta": 2.0})
    np.testing.assert_allclose(curve["y"], expected)
    assert "mse: loss 6.25, slope -5" in words(panel.status)


def test_losses_are_added_and_taken_away_and_keep_their_colours(shown):
    panel = LossPanel(["l1"])
    before = next(t for t in shown[panel.live["values"]]["data"] if t["name"] == "l1")["line"][
        "color"
    ]
    assert panel.controls["delta"].layout.display == "none"
    panel.boxes["mse"].value = True
    panel.boxes["huber"].value = True
    assert names(shown[panel.live["values"]]) == ["mse", "l1", "huber"]
    after = next(t for t in shown[panel.live["values"]]["data"] if t["name"] == "l1")["line"][
        "color"
    ]
    assert before == after
    assert panel.controls["delta"].layout.display is None
    for name in ("mse", "l1", "huber"):
        panel.boxes[name].value = False
    assert panel.losses == ("huber",), "the last picture stays"
    assert "one loss or more" in words(panel.message)
    panel.boxes["mse"].value = True
    assert words(panel.message) == ""


def test_yes_and_no(shown):
    panel = LossPanel(["brier", "bce", "focal"], target=1.0, prediction=-5.0, gamma=0.0, alpha=1.0)
    assert panel.kind == "classification"
    value = spot(shown[panel.live["values"]], "bce")[1]
    assert value == pytest.approx(np.log(1 + np.exp(5)))
    assert spot(shown[panel.live["values"]], "focal")[1] == pytest.approx(value)
    panel.controls["target"].value = 0.0
    assert spot(shown[panel.live["slopes"]], "bce")[1] == pytest.approx(1 / (1 + np.exp(5)))


def test_the_jump_of_l1_is_a_jump(shown):
    panel = LossPanel(["l1"], target=0.13)
    curve = next(t for t in shown[panel.live["slopes"]]["data"] if t["name"] == "l1")
    rise = np.flatnonzero(np.abs(np.diff(curve["y"])) > 0.5)
    assert np.diff(curve["x"])[rise].sum() < 1e-5


def test_without_a_person_it_shows_two_plain_figures(displayed):
    panel = LossPanel(["mse"], prediction=1.0, interactive=False)
    assert not hasattr(panel, "widget")
    panel._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure, go.Figure]
    assert panel.points() == {"mse": (1.0, 2.0)}


def test_with_a_person_it_shows_its_widget(shown, displayed):
    panel = LossPanel("mse")
    panel._ipython_display_()
    assert displayed == [panel.widget]


def test_the_walk_is_gradient_descent():
    """By closed forms: e ← e(1 - 2 lr) for MSE, one lr a step for L1."""
    figure = LossPanel(["mse", "l1"], prediction=4.0, interactive=False).walk(lr=0.1, steps=20)
    mse, l1 = figure.data
    np.testing.assert_allclose(mse.y, 4.0 * 0.8 ** np.arange(21))
    np.testing.assert_allclose(l1.y, 4.0 - 0.1 * np.arange(21))


def test_the_squared_probability_hardly_moves():
    """What the notebook's text says of forty steps."""
    panel = LossPanel(["brier", "bce"], target=1.0, prediction=-5.0, interactive=False)
    brier, bce = (line.y[-1] for line in panel.walk(lr=1.0, steps=40).data)
    assert brier < -4
    assert bce > 3


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"losses": ["mse", "bce"]}, ["different kinds"]),
        ({"losses": ["msee"]}, ["did you mean 'mse'"]),
        ({"losses": []}, ["one or more"]),
        ({"delta": -1.0}, ["huber.delta=-1.0", "0.05 to 10"]),
        ({"detla": 1.0}, ["'detla'", "did you mean 'delta'"]),
        ({"target": 9.0}, ["target=9.0", "-5 to 5"]),
        ({"prediction": "far"}, ["prediction='far'"]),
        ({"losses": ["bce"], "target": 2.0}, ["target=2.0", "0 to 1"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("interactive", [True, False])
def test_slips_are_explained(given, parts, interactive):
    with pytest.raises((LabError, RecipeError)) as refused:
        LossPanel(**given, interactive=interactive)
    for part in parts:
        assert part in str(refused.value)
