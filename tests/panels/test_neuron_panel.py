from __future__ import annotations

import html
import re
import warnings

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.panels import NeuronPanel
from labkit.panels.neuron_panel import LR
from labkit.toys.neuron import LIMIT, Neuron

NEURON = Neuron(weight=1.0, bias=0.5, noise=0.1, samples=30, seed=2)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def trace(spec, name: str) -> dict:
    return next(trace for trace in spec["data"] if trace.get("name") == name)


def test_it_starts_where_it_is_told(shown):
    panel = NeuronPanel(NEURON, weight=0.5, bias=-1.0)
    assert [knob.value for knob in panel.knobs] == [0.5, -1.0]
    assert (panel.weight, panel.bias) == (0.5, -1.0)
    assert panel.loss == pytest.approx(float(NEURON.loss(0.5, -1.0)))
    np.testing.assert_array_equal(panel.path, [[0.5, -1.0]])


def test_turning_a_knob_moves_the_line_and_the_marker(shown):
    panel = NeuronPanel(NEURON)
    weight, bias = panel.knobs
    weight.value = 2.0
    bias.value = -0.5
    np.testing.assert_array_equal(panel.path, [[0, 0], [2.0, 0], [2.0, -0.5]])
    line = trace(shown[panel.live["line"]], "the neuron's output")
    np.testing.assert_allclose(line["y"], 2.0 * line["x"] - 0.5)
    marker = trace(shown[panel.live["surface"]], "your knobs")
    assert (marker["x"].tolist(), marker["y"].tolist()) == ([2.0], [-0.5])
    path = trace(shown[panel.live["surface"]], "path")
    np.testing.assert_array_equal(np.stack([path["x"], path["y"]], axis=1), panel.path)


def test_errors_reach_from_the_line_to_the_points(shown):
    panel = NeuronPanel(NEURON, weight=-1.0, bias=1.0)
    x, y = NEURON.points()
    strokes = trace(shown[panel.live["line"]], "errors")["y"].reshape(-1, 3)
    np.testing.assert_allclose(strokes[:, 0], y)
    np.testing.assert_allclose(strokes[:, 1], -x + 1.0)
    assert np.isnan(strokes[:, 2]).all()


def test_the_status_says_loss_and_slopes(shown):
    panel = NeuronPanel(NEURON)
    panel.knobs[0].value = -2.0
    slopes = NEURON.gradient(-2.0, 0.0)
    assert words(panel.status) == (
        f"loss {float(NEURON.loss(-2.0, 0.0)):.4f} · its slope: {slopes[0]:+.3f} per unit of "
        f"weight, {slopes[1]:+.3f} per unit of bias"
    )


def test_a_step_downhill_is_a_gradient_step_and_the_knobs_follow(shown):
    panel = NeuronPanel(NEURON, weight=-2.0, bias=2.0)
    for count in (1, 2, 3):
        panel.downhill.click()
        assert len(panel.path) == count + 1, "one click is one step"
    expected = NEURON.descend(-2.0, 2.0, LR, 3)
    np.testing.assert_allclose(panel.path, expected)
    assert [knob.value for knob in panel.knobs] == pytest.approx(list(expected[-1]))


def test_downhill_ends_at_the_best(shown):
    panel = NeuronPanel(NEURON, weight=-3.0, bias=3.0)
    for _ in range(100):
        panel.downhill.click()
    assert (panel.weight, panel.bias) == pytest.approx(NEURON.best(), abs=1e-6)


def test_a_knob_turned_after_a_step_goes_on_from_there(shown):
    panel = NeuronPanel(NEURON)
    panel.downhill.click()
    bias = panel.bias
    panel.knobs[0].value = 1.0
    assert (panel.weight, panel.bias) == (1.0, pytest.approx(bias))
    assert len(panel.path) == 3


def test_a_step_may_leave_the_knobs_range(shown):
    """Far points pull hard: the marker goes where the gradient says, the knob to its end."""
    panel = NeuronPanel(Neuron(weight=9.0, noise=0))
    for _ in range(60):
        panel.downhill.click()
    assert panel.weight > LIMIT
    assert panel.knobs[0].value == LIMIT


def test_a_line_without_noise_can_be_drawn(shown):
    """At its very optimum the loss is 0, and the map shows logarithms."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel = NeuronPanel(Neuron(noise=0.0), weight=1.5, bias=-0.5)
        panel.figures()
    assert panel.loss == 0
    colours = shown[panel.live["surface"]]["data"][0]["z"]
    assert np.isfinite(colours).all()
    assert np.ptp(colours) < 8, "one dark point takes all colours"


def test_without_a_person_it_shows_two_plain_figures(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = NeuronPanel(NEURON, weight=0.5, interactive=False)
    assert not hasattr(panel, "widget")
    panel._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure, go.Figure]
    assert f"{panel.loss:.3g}" in displayed[0].layout.meta["label"]


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = NeuronPanel()
    panel._ipython_display_()
    assert displayed == [panel.widget]
    assert panel.neuron == Neuron()
