"""How numbers are quantized: the choices that every method shares, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch

from labkit.core.errors import LabError, misnamed, unknown

Zero = Literal["symmetric", "affine"]
Per = Literal["channel", "tensor"]
Ranges = Literal["min-max", "percentile", "mse", "entropy"]

BITS = (2, 3, 4, 5, 6, 7, 8, 16)
FORMATS = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "e4m3": torch.float8_e4m3fn,
    "e5m2": torch.float8_e5m2,
}
Bits = int | str


@dataclass(frozen=True)
class Scheme:
    """Where a grid's zero is, which values share a grid, and how its range is found.

    Attributes:
        zero: symmetric grids have as many levels on either side of zero, and zero itself:
            integers -(2^(b-1) - 1) to 2^(b-1) - 1, as in runtimes for weights.
            Affine ones have levels 0 to 2^b - 1 and a zero point, so that values of
            one sign waste no level; their range always contains zero, for padding.
        per: one grid for the whole tensor, or one for each channel (slice along `axis`).
        ranges: "min-max" contains every value; "percentile" leaves out the outermost;
            "mse" and "entropy" weigh clipping against rounding: see `labkit.quantize.ranges`.
        axis: the dimension of the channels; 0 is the outputs of a convolution.
        percentile: the share of values in percent that "percentile" keeps.

    Raises:
        LabError: a value that is not among these.
    """

    zero: Zero = "symmetric"
    per: Per = "channel"
    ranges: Ranges = "min-max"
    axis: int = 0
    percentile: float = 99.9

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise LabError(unknown(name, getattr(self, name), known))
        if not 50 < self.percentile <= 100:
            raise LabError(
                f"percentile={self.percentile:g} is the share of values that are kept, in "
                "percent: choose above 50 and at most 100, such as 99.9."
            )

    @classmethod
    def of(cls, scheme: Scheme | str) -> Scheme:
        """A scheme from words in any order; choices that are left out have their defaults.

        >>> str(Scheme.of("affine tensor percentile 99.5"))
        'affine tensor percentile 99.5'

        Raises:
            LabError: a word that means nothing, or two that exclude each other.
        """
        if isinstance(scheme, Scheme):
            return scheme
        given: dict[str, str | float] = {}
        for word in str(scheme).replace(",", " ").split():
            name = next((name for name, known in _CHOICES.items() if word in known), "percentile")
            if name in given:
                raise LabError(f"scheme {scheme!r} says {given[name]} and {word}: leave one out.")
            if name != "percentile":
                given[name] = word
                continue
            try:
                given[name] = float(word)
            except ValueError:
                words = [known for choice in _CHOICES.values() for known in choice]
                each = "; ".join(" or ".join(choice) for choice in _CHOICES.values())
                problem = f"scheme {scheme!r}: {word!r} is not known"
                options = f"Choose one of each: {each}."
                raise LabError(misnamed(problem, word, words, options=options)) from None
        return cls(**given)  # type: ignore[arg-type]

    def __str__(self) -> str:
        share = f" {self.percentile:g}" if self.ranges == "percentile" else ""
        return f"{self.zero} {self.per} {self.ranges}{share}"

    @property
    def symmetric(self) -> bool:
        """Whether zero is in the middle of the grid."""
        return self.zero == "symmetric"

    def integers(self, bits: int) -> tuple[int, int]:
        """The lowest and the highest integer of a grid."""
        if self.symmetric:
            return 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1
        return 0, 2**bits - 1


_CHOICES: dict[str, tuple[str, ...]] = {
    field.name: get_args(choice)
    for field, choice in zip(fields(Scheme), (Zero, Per, Ranges), strict=False)
}


def checked_bits(bits: Bits) -> Bits:
    """The same bits, if grids support them.

    Raises:
        LabError: neither one of `BITS` nor of `FORMATS`.
    """
    if isinstance(bits, str) and bits in FORMATS:
        return bits
    if isinstance(bits, int) and not isinstance(bits, bool) and bits in BITS:
        return bits
    raise LabError(
        f"bits={bits!r} has no grid: choose from {', '.join(map(str, BITS))} for integers, or "
        f"{', '.join(repr(name) for name in FORMATS)} for floating-point numbers."
    )


def width(bits: Bits) -> int:
    """How many bits one value takes."""
    return bits if isinstance(bits, int) else FORMATS[bits].itemsize * 8


def bits_text(bits: Bits) -> str:
    """`4 bits` or `bf16`."""
    return f"{bits} bits" if isinstance(bits, int) else bits
