from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import tensor_change, tensor_heatmap, weight_heatmap
from labkit.panels.live_figure import pack
from tests.figures.runs import HISTORIES, history


def check(spec):
    go.Figure(spec)
    pack(spec)
    for name in ("xaxis", "yaxis"):
        assert np.isfinite(spec["layout"][name]["range"]).all()
    return spec


def test_heatmap_shows_the_matrix_around_zero():
    run = history()
    spec = weight_heatmap.spec(run, "output.weight")
    trace = spec["data"][0]
    values = run.weights()["output.weight"]
    np.testing.assert_array_equal(trace["z"], values)
    assert trace["zmin"] == -trace["zmax"]
    assert np.abs(values).max() <= trace["zmax"]
    assert spec["layout"]["yaxis"]["range"] == [2.5, -0.5]  # the first unit on top
    titles = [spec["layout"][a]["title"]["text"] for a in ("xaxis", "yaxis")]
    assert titles == ["from unit", "to unit"]


def test_heatmap_of_a_step_is_that_steps():
    run = history()
    trace = weight_heatmap.spec(run, "layer1.bias", step=0)["data"][0]
    np.testing.assert_array_equal(trace["z"][0], run.weights(0)["layer1.bias"])


@pytest.mark.parametrize("shape", [(4, 6, 3, 3), (6, 4, 5, 3), (2, 2, 2, 2)])
def test_kernels_lie_where_their_channels_are_counted(shape):
    values = np.random.default_rng(0).normal(size=shape)
    trace = tensor_heatmap.spec(values)["data"][0]
    z, x, y = trace["z"], trace["x"], trace["y"]
    assert np.isfinite(z).sum() == values.size
    flipped = shape[0] > shape[1]
    for i, j in np.argwhere(np.isfinite(z)):
        row, column = int(f"{y[i]:.0f}"), int(f"{x[j]:.0f}")  # as d3's .0f in a hover
        kernel = values[column, row] if flipped else values[row, column]
        assert np.abs(kernel - z[i, j]).min() < 1e-6


def test_kernels_of_one_channel_fill_rows_and_hover_their_channel():
    values = np.random.default_rng(0).normal(size=(7, 1, 3, 3))
    trace = tensor_heatmap.spec(values)["data"][0]
    assert np.isfinite(trace["z"]).sum() == values.size
    for (i, j), channel in np.ndenumerate(trace["customdata"]):
        if np.isfinite(trace["z"][i, j]):
            assert np.abs(values[channel, 0] - trace["z"][i, j]).min() < 1e-6


def test_a_huge_matrix_is_strided_and_says_so():
    spec = tensor_heatmap.spec(np.arange(600.0 * 100).reshape(600, 100))
    assert spec["data"][0]["z"].shape == (200, 100)
    assert "1 in 3" in spec["layout"]["yaxis"]["title"]["text"]


def test_infinities_are_gaps_and_finite_weights_set_the_range():
    run = HISTORIES["exploding"]()
    assert not np.isfinite(run.flat()).any()
    trace = weight_heatmap.spec(run, "layer1.weight")["data"][0]
    assert np.isnan(trace["z"]).all()
    assert np.isfinite(trace["zmax"])
    early = weight_heatmap.spec(run, "layer1.weight", step=2)["data"][0]
    assert np.isfinite(early["z"]).all()


def test_a_few_strong_weights_do_not_make_the_others_pale():
    values = np.random.default_rng(2).normal(size=(100, 100)) * 0.01
    values[3, 4] = 40.0
    plain, spec = tensor_heatmap.spec(values), check(tensor_heatmap.spec(values, beyond=0.01))
    assert plain["data"][0]["zmax"] >= 40
    trace = spec["data"][0]
    assert trace["zmax"] == -trace["zmin"] == 0.05
    assert np.mean(np.abs(values) > 0.05) <= 0.01
    assert trace["z"][3, 4] == 40
    assert trace["colorbar"]["ticktext"][-1] == "0.05 or more"
    even = tensor_heatmap.spec(np.ones((4, 4)), beyond=0.01)
    assert str(even) == str(tensor_heatmap.spec(np.ones((4, 4))))


def test_kernels_stay_larger_than_a_pixel():
    values = np.arange(64 * 48 * 9.0).reshape(64, 48, 3, 3)
    rows = {most: tensor_heatmap.spec(values, kernel_rows=most) for most in (256, 64)}
    assert rows[256]["data"][0]["z"].shape[0] == 4 * 48 - 1
    assert rows[64]["data"][0]["z"].shape[0] == 4 * 16 - 1
    assert "1 in 3" in rows[64]["layout"]["yaxis"]["title"]["text"]


def test_a_change_is_the_difference():
    rng = np.random.default_rng(4)
    now, before = rng.normal(size=(2, 6, 5)).astype(np.float32)
    spec = check(tensor_change.spec(now, before, name="w"))
    expected = (now.astype(np.float64) - before).astype(np.float32)
    np.testing.assert_array_equal(spec["data"][0]["z"], expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (1, 5)), ((4, 3, 1, 1), (4, 3)), ((2, 3, 4), (2, 12))],
)
def test_other_shapes_are_shown_as_a_matrix(shape, expected):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    z = check(tensor_heatmap.spec(values))["data"][0]["z"]
    np.testing.assert_array_equal(z, values.reshape(expected))


def test_a_tensor_without_values_is_one_empty_cell():
    z = check(tensor_heatmap.spec(np.empty((0, 4))))["data"][0]["z"]
    assert z.shape == (1, 1)
    assert np.isnan(z).all()
