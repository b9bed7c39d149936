from __future__ import annotations

import pytest
import torch
from torch.ao.quantization.observer import PerChannelMinMaxObserver

from labkit.quantize.rounding import TINY, on_grid, step
from labkit.quantize.scheme import BITS, Scheme

AFFINE, SYMMETRIC = Scheme("affine"), Scheme("symmetric")


def bounds(*pairs: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = torch.tensor(pairs).T
    return low[:, None], high[:, None]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_affine_steps_are_those_of_torchs_observer(bits):
    rows = torch.randn(5, 50, generator=torch.Generator().manual_seed(bits))
    observer = PerChannelMinMaxObserver(dtype=torch.quint8, quant_min=0, quant_max=2**bits - 1)
    observer(rows)
    scale, zero_point = observer.calculate_qparams()
    mine = step(*(one[:, None] for one in (rows.min(1).values, rows.max(1).values)), bits, AFFINE)
    torch.testing.assert_close(mine[0].flatten(), scale, rtol=1e-6, atol=0)
    assert mine[1].flatten().tolist() == zero_point.tolist()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("scheme", [AFFINE, SYMMETRIC], ids=["affine", "symmetric"])
def test_zero_is_a_level_and_the_ends_are_within_half_a_step(bits, scheme):
    low, high = bounds((-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (-1e-3, 1e3))
    scale, zero_point = step(low, high, bits, scheme)
    first, last = scheme.integers(bits)
    assert ((zero_point >= first) & (zero_point <= last)).all()
    assert torch.equal(zero_point, zero_point.round())
    lowest, highest = (first - zero_point) * scale, (last - zero_point) * scale
    assert (lowest <= low + 0.501 * scale).all()
    assert (highest >= high - 0.501 * scale).all()


def test_nothing_but_zeros_has_a_scale_of_one():
    scale, zero_point = step(*bounds((0.0, 0.0)), 8, AFFINE)
    assert (float(scale), float(zero_point)) == (1.0, 0.0)


def test_a_range_too_small_for_float32_has_the_smallest_scale():
    scale, _ = step(*bounds((0.0, 1e-40)), 8, AFFINE)
    assert float(scale) == pytest.approx(TINY)
    assert (1 / scale).isfinite()


@pytest.mark.parametrize(
    ("scheme", "bits"), [(AFFINE, 3), (AFFINE, 8), (SYMMETRIC, 3), (SYMMETRIC, 8)]
)
def test_rounded_values_are_torchs_and_clipped_ones_are_counted(scheme, bits):
    rows = torch.randn(4, 200, generator=torch.Generator().manual_seed(0))
    low, high = bounds(*[(-1.0, 1.5)] * 4)
    found = on_grid(rows, low, high, bits, scheme)
    first, last = scheme.integers(bits)
    wanted = torch.fake_quantize_per_channel_affine(
        rows, found.scale[:, 0], found.zero_point[:, 0], 0, first, last
    )
    assert torch.equal(found.dequantized + 0.0, wanted + 0.0)  # -0 is 0
    assert found.quantized.dtype == found.zero_point.dtype == torch.int32
    lowest, highest = ((end - found.zero_point) * found.scale for end in (first, last))
    beyond = (rows < lowest - found.scale / 2) | (rows > highest + found.scale / 2)
    assert torch.equal(found.clipped, beyond)


@pytest.mark.parametrize(
    ("name", "dtype"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)]
)
def test_eight_bit_formats_saturate_beyond_their_range(name, dtype):
    rows = torch.tensor([[-9.0, -1.0, 0.3, 1.0, 2.0]])
    found = on_grid(rows, *bounds((-1.0, 1.0)), name, SYMMETRIC)
    largest = torch.finfo(dtype).max
    assert float(found.scale) == pytest.approx(1 / largest)
    assert found.quantized.dtype == dtype
    assert found.clipped.tolist() == [[True, False, False, False, True]]
    assert found.quantized.float()[0, [0, 1, 3, 4]].abs().tolist() == [largest] * 4


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_sixteen_bit_formats_are_casts_whatever_the_range(name, dtype):
    rows = torch.tensor([[1.0, 1e-3, 7e4]])
    found = on_grid(rows, *bounds((-0.1, 0.1)), name, SYMMETRIC)
    assert torch.equal(found.dequantized, rows.to(dtype).float())
    assert found.clipped.tolist() == [[False, False, name == "fp16"]]
