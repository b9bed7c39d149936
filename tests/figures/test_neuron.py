from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from labkit.figures import neuron_line, neuron_surface
from labkit.figures.neuron import FLOOR
from labkit.panels.live_figure import pack

X = np.linspace(-1, 1, 9)
Y = 2 * X + 0.5 + np.array([0.1, -0.1, 0.3, 0, 0.2, -0.3, 0, 0.1, -0.2])


def traces(spec) -> dict[str, dict]:
    go.Figure(spec)
    pack(spec)
    return {trace.get("name", trace["type"]): trace for trace in spec["data"]}


def test_the_line_is_the_neurons_and_strokes_lead_to_the_points():
    spec = neuron_line.spec(X, Y, 1.5, -0.25, 0.0)
    found = traces(spec)
    line = found["the neuron's output"]
    slope, intercept = np.polyfit(line["x"], line["y"], 1)
    np.testing.assert_allclose([slope, intercept], [1.5, -0.25])
    ends = np.stack([found["errors"]["x"], found["errors"]["y"]], axis=1).reshape(-1, 3, 2)
    np.testing.assert_array_equal(ends[:, 0], np.stack([X, Y], axis=1))
    np.testing.assert_allclose(ends[:, 1], np.stack([X, 1.5 * X - 0.25], axis=1))
    assert np.isnan(ends[:, 2, 1]).all(), "a gap after each stroke"
    np.testing.assert_array_equal(found["target points"]["y"], Y)


def test_the_label_gives_the_loss():
    label = neuron_line.spec(X, Y, 0, 0, 0.123456)["layout"]["meta"]["label"]
    assert label.endswith("mean squared error 0.123")


def test_the_map_is_the_logarithm_of_the_loss_and_hovers_the_loss():
    knob = np.linspace(-3, 3, 7)
    weight, bias = np.meshgrid(knob, knob)  # rows by bias
    losses = (weight - 2) ** 2 + bias**2
    path = np.array([[-1.0, 2.0], [0.5, 1.0]])
    spec = neuron_surface.spec(knob, losses, 0.5, 1.0, path)
    found = traces(spec)
    ground = found["heatmap"]
    row, column = np.unravel_index(ground["z"].argmin(), losses.shape)
    assert (ground["x"][column], ground["y"][row]) == (2, 0)
    np.testing.assert_allclose(
        10.0 ** ground["z"], np.where(losses < FLOOR, FLOOR, losses), rtol=1e-5
    )
    np.testing.assert_array_equal(ground["customdata"], losses)
    np.testing.assert_array_equal(found["path"]["x"], [-1, 0.5])
    np.testing.assert_array_equal(found["path"]["y"], [2, 1])
    assert (found["your knobs"]["x"], found["your knobs"]["y"]) == ([0.5], [1.0])
    assert spec["layout"]["xaxis"]["range"] == spec["layout"]["yaxis"]["range"] == [-3, 3]


def test_a_path_may_be_empty():
    knob = np.linspace(-1, 1, 3)
    traces(neuron_surface.spec(knob, np.zeros((3, 3)), 0, 0, np.empty((0, 2))))
