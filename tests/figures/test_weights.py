from __future__ import annotations

import numpy as np
import pytest

from labkit.figures import (
    tensor_distribution,
    tensor_heatmap,
    weight_distribution,
    weight_heatmap,
    weight_histogram,
    weight_lines,
    weights,
)
from labkit.figures.weights import BINS, SAMPLED
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step
from tests.figures.runs import BIG, HISTORIES, history


def test_few_weights_are_a_line_each_with_the_kept_values():
    run = history()
    data = weight_lines.spec(run, "layer1.weight")["data"]
    assert len(data) == 10
    assert data[3]["name"] == "layer1.weight: 1 → 1"
    for step, shown in zip(data[3]["x"], data[3]["y"], strict=True):
        assert shown == run.weights(int(step))["layer1.weight"][1, 1]


def test_lines_to_the_same_unit_have_its_colour():
    run = history()
    weight = [t["line"]["color"] for t in weight_lines.spec(run, "layer1.weight")["data"]]
    bias = [t["line"]["color"] for t in weight_lines.spec(run, "layer1.bias")["data"]]
    assert weight == [color for color in bias for _ in range(2)]


def test_bands_are_the_quantiles():
    run = history(BIG, 400)
    data = weight_lines.spec(run, "layer1.weight")["data"]
    assert len(data) == 7
    steps = data[0]["x"]
    assert steps[-1] == 400
    expected = np.stack([run.weights(int(s))["layer1.weight"].ravel() for s in steps])
    for trace, q in zip(data, (0.05, 0.95, 0.25, 0.75, 0.5, 0, 1), strict=True):
        np.testing.assert_allclose(trace["y"], np.quantile(expected, q, axis=1), atol=1e-5)
    assert [t.get("fill") for t in data[:5]] == [None, "tonexty", None, "tonexty", None]


def test_the_weight_axis_holds_every_weight():
    run = history(BIG, 400)
    for tensor in BIG.names:
        low, high = weight_lines.spec(run, tensor)["layout"]["yaxis"]["range"]
        values = run.snapshots(tensor)[1]
        assert low <= values.min()
        assert values.max() <= high


@pytest.mark.parametrize("last", [0, 1, 100, 700])
@pytest.mark.parametrize("tensor", ["layer1.weight", "layer1.bias"])
def test_histogram_over_time_counts_every_weight_of_its_step(last, tensor):
    run = history(BIG, last)
    trace = weight_histogram.spec(run, tensor)["data"][0]
    count = BIG.sizes[BIG.names.index(tensor)]
    assert trace["z"].shape == (BINS, len(trace["x"]) - 1)
    np.testing.assert_array_equal(trace["z"].sum(axis=0), count)
    for k, step in enumerate(trace["x"][:-1]):
        values = run.weights(int(step))[tensor].ravel()
        expected = np.histogram(values.astype(np.float64), trace["y"])[0]
        np.testing.assert_array_equal(trace["z"][:, k], expected)


def test_remembered_columns_equal_fresh_ones():
    growing = history(last=40)
    weight_histogram.spec(growing, "layer1.weight")
    recorder, rng = Recorder(growing), np.random.default_rng(9)
    for step in range(41, 300):  # far enough that limits and spacing change
        flat = rng.normal(size=growing.layout.total) * step / 10
        recorder.record(Step(step, 1.0, 0.1), flat, np.ones_like(flat))
        if step % 7 == 0:
            weight_histogram.spec(growing, "layer1.weight")
    seen = weight_histogram.spec(growing, "layer1.weight")["data"][0]
    weights._counted.clear()
    fresh = weight_histogram.spec(growing, "layer1.weight")["data"][0]
    np.testing.assert_array_equal(seen["z"], fresh["z"])
    np.testing.assert_array_equal(seen["x"], fresh["x"])


def test_a_large_tensor_is_sampled_and_says_so():
    run = history(Layout(("w",), ((100, 100),)), 3)
    trace = weight_histogram.spec(run, "w")["data"][0]
    assert trace["z"].sum(axis=0)[0] == len(np.arange(0, 10_000, 3)) <= SAMPLED
    assert "1 in 3" in trace["colorbar"]["title"]["text"]


def test_distribution_counts_now_and_before():
    run = history(BIG, 50)
    now, before = weight_distribution.spec(run, "layer1.weight")["data"]
    assert now["y"].sum() == before["y"][:-1].sum() == 1200
    edges = before["x"]
    first = run.weights(0)["layer1.weight"].ravel().astype(np.float64)
    np.testing.assert_array_equal(before["y"][:-1], np.histogram(first, edges)[0])
    last = run.weights()["layer1.weight"].ravel().astype(np.float64)
    np.testing.assert_array_equal(now["y"], np.histogram(last, edges)[0])


def test_what_is_not_finite_is_not_counted():
    trace = tensor_distribution.spec(np.array([1.0, 2.0, np.nan, np.inf, -np.inf]))["data"][0]
    assert trace["y"].sum() == 2


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
