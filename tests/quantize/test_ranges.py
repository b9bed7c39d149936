from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from onnxruntime.quantization.calibrate import HistogramCollector

from labkit.quantize import Scheme, grid
from labkit.quantize.ranges import entropy, mse, percentile


def normal(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def laplace(count: int, seed: int = 0) -> torch.Tensor:
    uniform = torch.rand(1, count, generator=torch.Generator().manual_seed(seed)) - 0.5
    return -uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.4999999))


def normal_loss(bound: float, levels: int) -> float:
    """Mean squared error of a normal variable on `levels` even levels within the bound."""
    x = np.linspace(-7, 7, 28_001)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    step = 2 * bound / (levels - 1)
    rounded = np.clip(np.round(x / step), -(levels - 1) // 2, (levels - 1) // 2) * step
    return float(np.sum((x - rounded) ** 2 * density) * (x[1] - x[0]))


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_mse_finds_the_best_grid_of_a_normal_variable(bits):
    """The oracle integrates the error; for three levels it is Max's 1.224 (1960)."""
    levels = 2**bits - 1
    bounds = np.linspace(0.8, 5, 211)
    losses = [normal_loss(bound, levels) for bound in bounds]
    best = min(losses)
    found = grid(normal(200_000), bits, "symmetric tensor mse")
    bound = float(found.scale[0]) * (levels - 1) / 2
    assert bound == pytest.approx(bounds[int(np.argmin(losses))], rel=0.04)
    assert float(found.error.square().mean()) == pytest.approx(best, rel=0.02)
    if bits == 2:
        assert bound == pytest.approx(1.224, abs=0.03)


@pytest.mark.parametrize("zero", ["symmetric", "affine"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_range_on_a_fine_raster_has_less_error(zero, bits):
    tensor = laplace(600).abs() - 0.2 if zero == "affine" else laplace(600)
    scheme = Scheme(zero, "tensor", "mse")
    found = grid(tensor, bits, scheme)
    first, last = scheme.integers(bits)
    least = math.inf
    for high in np.linspace(0.05, 1, 40) * float(tensor.abs().max()):
        for low in [-high] if zero == "symmetric" else np.linspace(0, 1, 9) * float(tensor.min()):
            scale = high / last if zero == "symmetric" else (high - low) / (last - first)
            zero_point = 0 if zero == "symmetric" else round(-low / scale)
            fake = torch.fake_quantize_per_tensor_affine(tensor, scale, zero_point, first, last)
            least = min(least, float((fake - tensor).square().sum()))
    assert float(found.error.square().sum()) <= least * 1.02


def test_mse_is_never_worse_than_min_max_and_each_row_has_its_own():
    rows = torch.cat([normal(300), laplace(300), torch.linspace(-1, 1, 300)[None]])
    for bits in (2, 3, 5, 8, "e4m3", "e5m2"):
        for zero in ("symmetric", "affine"):
            plain = grid(rows, bits, f"{zero} channel").error.square().sum(1)
            best = grid(rows, bits, f"{zero} channel mse").error.square().sum(1)
            assert (best <= plain * (1 + 1e-6)).all()
    low, high = mse(rows, 4, Scheme(ranges="mse"))
    for k in range(3):
        own = mse(rows[k : k + 1], 4, Scheme(ranges="mse"))
        assert (float(low[k]), float(high[k])) == (float(own[0]), float(own[1]))


def test_evenly_spread_values_are_not_clipped():
    tensor = torch.linspace(-1, 1, 5001)[None]
    for ranges in ("mse", "entropy"):
        bound = 7 * float(grid(tensor, 4, f"symmetric tensor {ranges}").scale[0])
        assert bound == pytest.approx(1, abs=0.08)


def test_percentiles_are_numpys():
    rows = torch.cat([normal(999), laplace(999)])
    low, high = percentile(rows, Scheme("affine", percentile=98))
    np.testing.assert_allclose(low[:, 0], np.percentile(rows, 1, axis=1), rtol=1e-6)
    np.testing.assert_allclose(high[:, 0], np.percentile(rows, 99, axis=1), rtol=1e-6)
    low, high = percentile(rows, Scheme("symmetric", percentile=98))
    np.testing.assert_allclose(high[:, 0], np.percentile(rows.abs(), 98, axis=1), rtol=1e-6)
    assert torch.equal(low, -high)


@pytest.mark.parametrize("make", [normal, laplace])
def test_entropy_agrees_with_onnxruntimes_calibration(make):
    """Both minimize the divergence of Migacz's histograms, of their own bins: nearly equal."""
    tensor = make(200_000)
    peer = HistogramCollector(
        method="entropy", symmetric=True, num_bins=2048, num_quantized_bins=128, percentile=99.99,
        scenario="same",
    )  # fmt: skip
    peer.collect({"x": [tensor.numpy()]})
    theirs = [float(np.ravel(v)[0]) for v in peer.compute_collection_result()["x"][:2]]
    _, high = entropy(tensor, 7, Scheme("symmetric", "tensor", "entropy"))
    assert float(high) == pytest.approx(max(map(abs, theirs)), rel=0.08)


def test_entropy_clips_outliers_and_keeps_to_the_values():
    tensor = normal(20_000)
    tensor[0, 0] = 60.0
    low, high = entropy(tensor, 8, Scheme("affine", "tensor", "entropy"))
    assert 3 < float(high) < 20
    assert -5 < float(low) < -3
    one_sided = tensor.abs()
    assert float(entropy(one_sided, 8, Scheme("affine", "tensor", "entropy"))[0]) == float(
        one_sided.min()
    )


def test_without_a_histogram_worth_the_name_nothing_is_clipped():
    assert grid(laplace(5000), 16, "symmetric tensor entropy").clipped == 0
    assert grid(laplace(2047), 8, "symmetric tensor entropy").clipped == 0
    assert grid(laplace(50_000), 8, "symmetric tensor entropy").clipped > 0
