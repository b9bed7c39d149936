from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver

from labkit.core.errors import LabError
from labkit.quantize import Scheme, grid
from labkit.quantize.grid import sqnr
from labkit.quantize.scheme import BITS, FORMATS

RANGES = ("min-max", "percentile", "mse", "entropy")


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal, with an outlier, off centre, and some exactly between two levels."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator) * 0.1 + 0.03
    drawn.view(-1)[3] = -1.7
    return drawn


def fake(tensor: torch.Tensor, found) -> torch.Tensor:
    """What torch's own kernels make of a tensor with the scales that were found."""
    first, last = found.scheme.integers(found.bits)
    if found.scheme.per == "tensor":
        return torch.fake_quantize_per_tensor_affine(
            tensor, found.scale[0], found.zero_point[0], first, last
        )
    return torch.fake_quantize_per_channel_affine(
        tensor, found.scale, found.zero_point, found.scheme.axis, first, last
    )


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize("zero", ["symmetric", "affine"])
@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("ranges", RANGES)
def test_values_are_bit_for_bit_those_of_torch(zero, per, ranges):
    for bits in BITS:
        tensor = values(6, 8, 3, 3, seed=bits)
        found = grid(tensor, bits, f"{zero} {per} {ranges}")
        assert found.scale.shape == ((6,) if per == "channel" else (1,))
        assert same_bits(found.dequantized + 0.0, fake(tensor, found) + 0.0)  # -0 is 0
        assert torch.equal(found.error, found.dequantized - tensor)


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_ties_go_where_torch_sends_them(per):
    """Values exactly between two levels: half to even, before the zero point is added."""
    steps = torch.arange(-20, 21).float() / 2
    tensor = torch.stack([steps * 0.25, steps.flip(0) * 0.5])
    for bits in (4, 5, 8):
        for zero in ("symmetric", "affine"):
            found = grid(tensor, bits, f"{zero} {per}")
            assert same_bits(found.dequantized + 0.0, fake(tensor, found) + 0.0)


def test_channels_may_lie_along_another_dimension():
    tensor = values(5, 7, 2)
    found = grid(tensor, 4, Scheme("affine", axis=1))
    assert found.scale.shape == (7,)
    assert same_bits(found.dequantized + 0.0, fake(tensor, found) + 0.0)
    turned = grid(tensor.movedim(1, 0), 4, "affine channel")
    assert torch.equal(found.quantized.movedim(1, 0), turned.quantized)


def test_affine_scales_and_zero_points_are_those_of_torchs_observers():
    tensor = values(6, 40)
    for observer, per in ((MinMaxObserver, "tensor"), (PerChannelMinMaxObserver, "channel")):
        for bits in (4, 8):
            one = observer(dtype=torch.quint8, quant_min=0, quant_max=2**bits - 1)
            one(tensor)
            scale, zero_point = one.calculate_qparams()
            found = grid(tensor, bits, f"affine {per}")
            torch.testing.assert_close(found.scale, scale, rtol=0, atol=0)
            assert found.zero_point.tolist() == zero_point.tolist()


def test_symmetric_grids_are_even_and_reach_the_largest():
    tensor = values(4, 30)
    for bits in BITS:
        found = grid(tensor, bits, "symmetric channel")
        levels = found.levels(2)
        assert len(levels) == 2**bits - 1
        torch.testing.assert_close(levels, -levels.flip(0))
        assert 0.0 in levels
        assert float(levels[-1]) == pytest.approx(float(tensor[2].abs().max()))
        assert found.clipped == 0
        assert set(found.zero_point.tolist()) == {0}


def test_zero_stays_zero_on_every_grid():
    tensor = torch.tensor([[0.0, 3.0, 7.1, 9.9], [0.0, -2.0, -0.3, -0.1]])
    for bits in (*BITS, *FORMATS):
        for scheme in ("affine channel", "affine tensor", "symmetric tensor"):
            assert not grid(tensor, bits, scheme).dequantized[:, 0].any()


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_sixteen_bit_formats_are_casts(name, dtype):
    tensor = values(3, 50) * 100
    for scheme in ("symmetric channel mse", "affine tensor percentile"):
        found = grid(tensor, name, scheme)
        assert torch.equal(found.quantized, tensor.to(dtype))
        assert torch.equal(found.dequantized, tensor.to(dtype).float())
        assert (found.scale == 1).all()


def test_fp16_overflows_as_the_cast_does():
    found = grid(torch.tensor([1.0, 7e4, -9e9, 2.0]), "fp16", "tensor")
    assert found.dequantized.tolist() == [1.0, math.inf, -math.inf, 2.0]
    assert found.clipped == 0.5
    assert found.sqnr == -math.inf


@pytest.mark.parametrize(
    ("name", "dtype", "largest"),
    [("e4m3", torch.float8_e4m3fn, 448.0), ("e5m2", torch.float8_e5m2, 57344.0)],
)
def test_eight_bit_formats_are_casts_of_scaled_values(name, dtype, largest):
    tensor = values(4, 50)
    whole = tensor / tensor.abs().max() * largest
    whole.view(-1)[tensor.abs().argmax()] = largest
    plain = grid(whole, name, "tensor")  # scale 1: a plain cast
    assert float(plain.scale[0]) == 1
    assert torch.equal(plain.dequantized, whole.to(dtype).float())
    found = grid(tensor, name, "channel")
    scale = found.scale[:, None]
    assert torch.equal(found.dequantized, (tensor * (1 / scale)).to(dtype).float() * scale)
    assert found.clipped == 0
    clipped = grid(tensor, name, "tensor percentile 90")
    assert clipped.clipped == pytest.approx(0.1, abs=0.01)
    assert clipped.dequantized.isfinite().all()


def test_levels_of_formats_are_all_their_numbers():
    assert len(grid([1.0], "e4m3", "tensor").levels()) == 253
    levels = grid([1.0], "e5m2", "tensor").levels()
    assert len(levels) == 247
    assert float(levels.max()) == pytest.approx(1.0)


def test_every_value_is_on_a_level_and_on_the_nearest():
    tensor = values(1, 400)
    for bits in (2, 3, 5, "e4m3", "e5m2"):
        for scheme in ("symmetric tensor", "affine tensor mse"):
            found = grid(tensor, bits, scheme)
            levels, got = found.levels(), found.dequantized.flatten()
            distance = (tensor.flatten()[:, None] - levels[None]).abs()
            gap = levels.diff().max() * 1e-4
            assert ((got[:, None] - levels[None]).abs().min(1).values <= gap * 1e-2).all()
            assert ((got - tensor.flatten()).abs() <= distance.min(1).values + gap).all()


def test_the_error_of_uniform_values_is_that_of_theory():
    """Rounding noise of step² / 12: six dB a bit (Bennett 1948)."""
    generator = torch.Generator().manual_seed(0)
    tensor = torch.rand(200_000, generator=generator) * 2 - 1
    for bits in (4, 6, 8):
        found = grid(tensor, bits, "symmetric tensor")
        step = float(found.scale[0])
        assert float(found.error.square().mean()) == pytest.approx(step**2 / 12, rel=0.02)
        expected = 10 * math.log10((1 / 3) / (step**2 / 12))
        assert found.sqnr == pytest.approx(expected, abs=0.1)


def test_clipped_counts_values_beyond_the_outermost_level():
    tensor = torch.linspace(-1, 1, 1001)
    found = grid(tensor, 8, "symmetric tensor percentile 90")
    bound = 127.5 * float(found.scale[0])
    assert found.clipped == pytest.approx(float((tensor.abs() > bound).float().mean()), abs=2e-3)
    assert grid(tensor, 8, "symmetric tensor").clipped == 0


def test_nothing_but_zeros_has_no_error():
    for bits in (2, 8, 16, "bf16", "e4m3"):
        for scheme in ("symmetric channel mse", "affine tensor percentile", "affine channel"):
            found = grid(torch.zeros(3, 4), bits, scheme)
            assert not found.dequantized.any()
            assert found.sqnr == math.inf
            assert found.clipped == 0
            assert found.scale.isfinite().all()
    assert not grid(torch.zeros(3, 4), 8, "entropy").dequantized.any()


@pytest.mark.parametrize("constant", [3.7, -0.02, 1e-40, -1e30])
def test_constants_and_single_values_keep_their_value(constant):
    for bits in (2, 4, 8):
        for zero in ("symmetric", "affine"):
            for ranges in RANGES:
                found = grid(torch.full((2, 5), constant), bits, f"{zero} channel {ranges}")
                assert found.dequantized.isfinite().all()
                if abs(constant) > 1e-37:
                    torch.testing.assert_close(found.dequantized, found.tensor, rtol=1e-6, atol=0)
    one = grid(torch.tensor(constant), 8, "tensor")
    assert one.dequantized.shape == ()


def test_lists_arrays_and_short_floats_are_taken_and_left_as_they_are():
    assert grid([0.5, -1.0], 8, "tensor").dequantized.shape == (2,)
    assert grid(np.ones((2, 2)), 8).dequantized.dtype == torch.float32
    half = values(4, 4).half()
    before = half.clone()
    assert grid(half, 3).tensor.dtype == torch.float32
    assert torch.equal(half, before)
    parameter = torch.nn.Parameter(values(4, 4))
    found = grid(parameter, 2)
    assert not found.dequantized.requires_grad
    assert torch.equal(parameter, values(4, 4))


def test_what_has_no_grid_is_refused_with_what_would_be_right():
    good = values(4, 4)
    for bits in (1, 9, 12, 32, 8.0, True, "int8", "fp8", None):
        with pytest.raises(LabError, match=r"choose from 2, 3, .* 16 for integers, or 'bf16'"):
            grid(good, bits)
    with pytest.raises(LabError, match="did you mean 'symmetric'"):
        grid(good, 8, "symetric tensor")
    with pytest.raises(LabError, match="says channel and tensor"):
        grid(good, 8, "channel tensor")
    with pytest.raises(LabError, match="no values"):
        grid(torch.empty(0, 3), 8)
    bad = good.clone()
    bad[1, 2] = math.nan
    bad[3, 0] = math.inf
    with pytest.raises(LabError, match=r"2 of 16 values .* first at \[1, 2\]"):
        grid(bad, 8)
    with pytest.raises(LabError, match="int64 already"):
        grid(torch.arange(4), 8)
    with pytest.raises(LabError, match="use 'symmetric tensor min-max'"):
        grid(torch.ones(4), 8)
    with pytest.raises(LabError, match="axis=3"):
        grid(good, 8, Scheme(axis=3))
    with pytest.raises(LabError, match="not str"):
        grid("model.0.conv.weight", 8)
    with pytest.raises(LabError, match="entropy ranges need integer levels"):
        grid(good, "e4m3", "entropy")
    with pytest.raises(LabError, match="channel=4 does not exist"):
        grid(good, 8).levels(4)


def test_bytes_are_values_scales_and_zero_points():
    tensor = values(4, 30)
    assert grid(tensor, 8, "symmetric tensor").nbytes == 120 + 4
    assert grid(tensor, 4, "symmetric channel").nbytes == 60 + 16
    assert grid(tensor, 3, "affine channel").nbytes == 45 + 16 + 4
    assert grid(tensor, 16, "affine tensor").nbytes == 240 + 4 + 2
    assert grid(tensor, "bf16").nbytes == 240
    assert grid(tensor, "e4m3", "tensor").nbytes == 120 + 4


def test_facts_are_a_row():
    facts = grid(values(4, 30), 4, "affine channel").facts()
    assert facts["bits"] == 4
    assert facts["scheme"] == "affine channel min-max"
    assert facts["values used"] <= 16
    assert facts["clipped"] == 0


def test_sqnr_is_a_ratio_in_decibel():
    assert sqnr(torch.ones(10), torch.full((10,), 0.1)) == pytest.approx(20)
    assert sqnr(torch.ones(3), torch.zeros(3)) == math.inf
