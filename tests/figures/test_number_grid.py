from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from labkit import figures
from labkit.panels.live_figure import pack
from labkit.quantize import Scheme, grid


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def traces(spec) -> dict[str, dict]:
    go.Figure(spec)
    pack(spec)
    for key, axis in spec["layout"].items():
        if key.startswith(("xaxis", "yaxis")) and "range" in axis:
            low, high = axis["range"]
            assert np.isfinite([low, high]).all()
            assert low < high
    return {trace["name"]: trace for trace in spec["data"]}


def area(bars) -> float:
    return float((bars["y"] * bars["width"]).sum())


def stems(trace) -> tuple[np.ndarray, np.ndarray]:
    return trace["x"][1::3], trace["y"][1::3]


def test_both_histograms_hold_all_values():
    found = grid(normal(1000), 4, "symmetric tensor")
    one = traces(figures.number_grid.spec(found, name="w"))
    assert area(one["before"]) == pytest.approx(1)
    x, y = stems(one["after"])
    np.testing.assert_allclose(x, found.dequantized.unique().numpy())
    assert float(y.sum()) * float(found.scale[0]) == pytest.approx(1)
    np.testing.assert_allclose(one["levels"]["x"], found.levels().numpy())


def test_values_are_led_to_their_levels_and_the_error_is_the_difference():
    values = torch.tensor([-0.7, -0.1, 0.05, 0.3, 0.62])
    found = grid(values, 3, "affine tensor")
    one = traces(figures.number_grid.spec(found))
    lines = one["values snap"]
    np.testing.assert_array_equal(lines["x"][0::3], values.sort().values)
    np.testing.assert_array_equal(lines["x"][1::3], found.dequantized[values.argsort()])
    error = one["error"]
    np.testing.assert_array_equal(error["x"], values.sort().values)
    np.testing.assert_allclose(error["y"], found.error[values.argsort()])


def test_of_many_channels_one_is_shown():
    weight = normal(4, 50)
    weight[2] *= 10
    for place in (0, 1):
        found = grid(weight.movedim(0, place), 4, Scheme(axis=place))
        spec = figures.number_grid.spec(found, channel=2, name="conv")
        one = traces(spec)
        assert set(one["error"]["x"]) == set(weight[2].tolist())
        np.testing.assert_allclose(one["levels"]["x"], found.levels(2).numpy())
        assert spec["layout"]["xaxis"]["title"]["text"] == "conv, channel 2 of 4"


@pytest.mark.parametrize("bits", [2, 8, 16, "bf16", "fp16", "e4m3", "e5m2"])
@pytest.mark.parametrize("scheme", ["symmetric tensor", "affine channel mse"])
def test_every_grid_has_a_picture_of_bounded_size(bits, scheme):
    one = traces(figures.number_grid.spec(grid(normal(3, 9000), bits, scheme)))
    assert all(len(trace["x"]) <= 1600 for trace in one.values())
    assert np.nanmax(one["after"]["y"]) < 3 * one["before"]["y"].max() + 5


@pytest.mark.parametrize(
    "values", [torch.zeros(4, 4), torch.full((3, 3), 2.5), torch.tensor(1.0), torch.tensor([9e9])]
)
def test_constants_and_single_values_have_a_picture(values):
    for bits in (2, 8, "e4m3", "bf16"):
        one = traces(figures.number_grid.spec(grid(values, bits, "affine tensor")))
        assert len(one["error"]["x"]) > 0


def test_what_overflows_is_left_out():
    spec = figures.number_grid.spec(grid([1.0, 7e4, 2.0], "fp16", "tensor"))
    assert 7e4 not in traces(spec)["error"]["x"]
