"""How far calibrated ranges reach, beside those of the images that the detector is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FEW = 32  # images; below, ranges are seen to grow with every further one
BEYOND = 1.1  # a reach that calibration has missed by a tenth counts


@dataclass(frozen=True)
class Reach:
    """How calibrated ranges fit the images that the detector is for.

    Attributes:
        images: how many were calibrated with.
        source: the data set they are of.
        tensors: activations that were compared.
        beyond: those that reach further than calibration has seen, by a tenth or more: what
            is beyond is cut off.
        idle: those that use less than half of their range: a bit or more is lost.
        worst: by how much the range of the worst tensor is too small, 1 for not at all.
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
        said = (
            f"calibrated on {self.images} images of {self.source}: {self.beyond} of "
            f"{self.tensors} activations reach further on the validation images"
        )
        if self.beyond:
            said += f" ({self.where} {self.worst:.1f} times as far)"
        return said + f", {self.idle} use less than half of their range"


def compare(
    calibrated: Mapping[str, tuple[float, float]],
    seen: Mapping[str, tuple[float, float]],
    images: int,
    source: str,
) -> Reach:
    """Ranges from calibration beside those on other images.

    Args:
        calibrated, seen: tensor -> lowest and highest value, as `read_ranges` gives them.
        images, source: what was calibrated with.
    """
    ratios = {
        name: _width(seen[name]) / _width(range_)
        for name, range_ in calibrated.items()
        if name in seen and _width(range_) > 0
    }
    where = max(ratios, key=lambda name: ratios[name], default="")
    return Reach(
        images=images,
        source=source,
        tensors=len(ratios),
        beyond=sum(ratio > BEYOND for ratio in ratios.values()),
        idle=sum(ratio < 0.5 for ratio in ratios.values()),
        worst=max(1.0, ratios.get(where, 1.0)),
        where=where,
    )


def _width(range_: tuple[float, float]) -> float:
    """A grid always holds zero, so a range does."""
    low, high = min(range_[0], 0.0), max(range_[1], 0.0)
    return high - low
