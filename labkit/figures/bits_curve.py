"""A detector's mAP against the bits of its weights, a line per scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure
from labkit.figures.score_lines import score_lines

Bits = int | str
Points = Sequence[tuple[Bits, float]]
ORDER = (2, 3, 4, 5, 6, 7, 8, "e5m2", "e4m3", 16, "bf16", "fp16")


@figure
def bits_curve(
    curves: Mapping[str, Points],
    *,
    float32: float,
    bits: Iterable[Bits] = (),
    now: tuple[Bits, float] | None = None,
    what: str = "mAP50-95",
    height: int = 300,
) -> Spec:
    """mAP against bits, from few to many; formats stand beside integers of their width.

    Args:
        curves: scheme -> (bits, mAP in 0 to 1) in any order.
        float32: mAP without quantization, as a dotted line.
        bits: those that the axis shows even where no curve has them.
        now: the point to mark.
        what: which mAP.
        height: in pixels.
    """
    present = {one for points in curves.values() for one, _ in points} | set(bits)
    places = [one for one in ORDER if one in present or (now and one == now[0])]
    labels = [str(one) for one in places]
    known = {
        name: [(str(one), score) for one, score in sorted(points, key=lambda p: ORDER.index(p[0]))]
        for name, points in curves.items()
    }
    data = score_lines(
        known,
        before=("float32", float32),
        ends=labels[:1] + labels[-1:],
        now=(str(now[0]), now[1]) if now else None,
        at="%{x} bits",
        what=what,
    )
    layout = theme.layout(f"{what} against the bits of a weight", height=height)
    layout["xaxis"] = axis(
        "bits (or format) of a weight", [-0.4, max(len(labels), 1) - 0.6], type="category",
        categoryorder="array", categoryarray=labels,
    )  # fmt: skip
    layout["yaxis"] = axis(what, [-0.03, 1.03])
    return {"data": data, "layout": layout}
