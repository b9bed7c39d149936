from __future__ import annotations

import pytest
import torch

from labkit.core.errors import LabError
from labkit.quantize import Scheme
from labkit.quantize.scheme import BITS, FORMATS, bits_text, checked_bits, width


def test_schemes_are_words_in_any_order():
    assert Scheme.of("tensor, affine") == Scheme("affine", "tensor")
    assert Scheme.of("") == Scheme()
    one = Scheme.of("percentile 99.5 affine")
    assert one == Scheme("affine", ranges="percentile", percentile=99.5)
    assert Scheme.of(str(one)) == one
    for bad in ("percentile 40", "percentile 101", "percentile nan"):
        with pytest.raises(LabError, match="percentile="):
            Scheme.of(bad)
    with pytest.raises(LabError, match="zero='signed'"):
        Scheme("signed")


@pytest.mark.parametrize(
    ("words", "reason"),
    [("symetric tensor", "did you mean 'symmetric'"), ("channel tensor", "says channel and tensor"),
     ("percentile 99 98", "says 99.0 and 98"), ("quickly", "is not known")],
)  # fmt: skip
def test_words_that_mean_nothing_or_exclude_each_other(words, reason):
    with pytest.raises(LabError, match=reason):
        Scheme.of(words)


@pytest.mark.parametrize("bits", BITS)
def test_integers_of_a_grid(bits):
    first, last = Scheme("symmetric").integers(bits)
    assert (first, last) == (-last, 2 ** (bits - 1) - 1)
    assert Scheme("affine").integers(bits) == (0, 2**bits - 1)


@pytest.mark.parametrize("bits", [*BITS, *FORMATS])
def test_the_width_is_that_of_the_type(bits):
    assert checked_bits(bits) == bits
    assert width(bits) == (bits if isinstance(bits, int) else torch.finfo(FORMATS[bits]).bits)
    assert bits_text(bits) == (f"{bits} bits" if isinstance(bits, int) else bits)


@pytest.mark.parametrize("bits", [0, 1, 9, 32, 8.0, True, "int8", None])
def test_bits_without_a_grid_are_refused(bits):
    with pytest.raises(LabError, match=r"has no grid: choose from 2, 3, .* 16 for integers"):
        checked_bits(bits)
