from __future__ import annotations

import numpy as np
import pytest

from labkit.figures import (
    tensor_distribution,
    weight_distribution,
    weight_histogram,
    weight_lines,
    weights,
)
from labkit.figures.weights import BINS, SAMPLED
from labkit.training import statistics
from labkit.training.layout import Layout
from labkit.training.recorder import Recorder, Step
from tests.figures.runs import BIG, history


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


def test_quantiles_are_in_the_order_of_the_history():
    assert weights.QUANTILES == statistics.QUANTILES


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
