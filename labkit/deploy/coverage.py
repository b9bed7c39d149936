"""How well calibrated ranges cover the activations on the images that the detector is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FEW = 32  # images; with fewer, ranges still grow with every further image
BEYOND = 1.1  # a range counts as too small if values go a tenth beyond it


@dataclass(frozen=True)
class RangeCoverage:
    """How calibrated ranges fit the images that the detector is for.

    Attributes:
        images: how many images were calibrated with.
        source: the data set they come from.
        tensors: how many activations were compared.
        beyond: how many of them go beyond their calibrated range by a tenth or more: those
            values are cut off.
        idle: how many use less than half of their range: a bit or more is lost.
        worst: the factor by which the range of the worst tensor is too small, 1 for not at all.
        where: that tensor.
    """

    images: int
    source: str
    tensors: int
    beyond: int
    idle: int
    worst: float
    where: str

    def words(self) -> str:
        """What was found, in a sentence."""
        words = (
            f"calibrated on {self.images} images of {self.source}: {self.beyond} of "
            f"{self.tensors} activations go beyond their range on the validation images"
        )
        if self.beyond:
            words += f" ({self.where} {self.worst:.1f} times as far)"
        return words + f", {self.idle} use less than half of their range"


def compare(
    calibrated: Mapping[str, tuple[float, float]],
    seen: Mapping[str, tuple[float, float]],
    images: int,
    source: str,
) -> RangeCoverage:
    """Compare ranges from calibration with those on other images.

    Args:
        calibrated, seen: tensor -> lowest and highest value, as `read_ranges` gives them.
        images, source: how many images calibration has used, and of which data set.
    """
    ratios = {
        name: _width(seen[name]) / _width(range_)
        for name, range_ in calibrated.items()
        if name in seen and _width(range_) > 0
    }
    where = max(ratios, key=lambda name: ratios[name], default="")
    return RangeCoverage(
        images=images,
        source=source,
        tensors=len(ratios),
        beyond=sum(ratio > BEYOND for ratio in ratios.values()),
        idle=sum(ratio < 0.5 for ratio in ratios.values()),
        worst=max(1.0, ratios.get(where, 1.0)),
        where=where,
    )


def _width(range_: tuple[float, float]) -> float:
    """From lowest to highest value, zero included: every grid contains zero."""
    low, high = min(range_[0], 0.0), max(range_[1], 0.0)
    return high - low
