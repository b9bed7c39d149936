"""How things are measured here: interleaved rounds, medians, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        ours, peer: both figures, with units.
        ratio: ours over the peer's (or as `what` says); None where there is no peer.
        target: what the project wants.
        met: whether it was reached in this run.
    """

    what: str
    ours: str
    peer: str
    ratio: float | None
    target: str
    met: bool

    def cells(self) -> dict[str, str]:
        """The line as text."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return {
            "what": self.what,
            "labkit": self.ours,
            "peer": self.peer,
            "ratio": ratio,
            "target": self.target,
            "met": "yes" if self.met else "NO",
        }


def interleaved(
    candidates: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Each candidate's figures over several rounds, in turn, so that noise hits all alike.

    One round more is run first and thrown away: imports, caches and clocks warm up.
    """
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            figure = run()
            if number:
                figures[name].append(figure)
    return figures


def median_ratio(ours: list[float], peer: list[float]) -> float:
    """The median over rounds of ours divided by the peer's of the same round."""
    return statistics.median(a / b for a, b in zip(ours, peer, strict=True))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
