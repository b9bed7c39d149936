"""The result of a search: a measured row for each candidate, the Pareto front, the choice."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.deploy.candidates import Candidate
from labkit.deploy.latency import Latency

if TYPE_CHECKING:
    from labkit.core.table import Table
    from labkit.deploy.coverage import RangeCoverage

TARGETS = ("latency", "size")
NOISE = 0.05  # identical files were seen to differ this much in latency, on a busy machine


@dataclass(frozen=True)
class Measured:
    """One candidate, measured on this machine.

    Attributes:
        candidate: what was measured.
        files: what it consists of; the first one is opened.
        size: bytes of all files.
        latency: milliseconds per image with all threads; `latency_1` with one.
        throughput: images a second, each computed on one thread, all threads busy.
        memory: the most bytes its process has used, the runtime itself included.
        map50, map: of its boxes on the validation images, in 0 to 1.
        agreement: share of boxes in common with the network in fp32 (see
            `labkit.deploy.agreement.agreement`).
        stored: share of the weights that are stored as integers.
        nodes: quantize and dequantize nodes in the file.
        integer, weighted: how many operators with weights are computed in integers, and how
            many operators with weights there are.
        seconds: how long building it took.
        problem: why there are no figures, or some are missing; one line.
    """

    candidate: Candidate
    files: tuple[Path, ...] = ()
    size: int = 0
    latency: Latency | None = None
    latency_1: Latency | None = None
    throughput: float | None = None
    memory: int | None = None
    map50: float | None = None
    map: float | None = None
    agreement: float | None = None
    stored: float | None = None
    nodes: int | None = None
    integer: int | None = None
    weighted: int | None = None
    seconds: float = 0.0
    problem: str = ""

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    @property
    def complete(self) -> bool:
        """Whether it can be compared with others."""
        return None not in (self.latency, self.map) and self.size > 0

    def row(self) -> dict[str, Any]:
        """The figures as a table row, empty where one is missing."""

        def text(value: float | None, spec: str) -> str:
            return "" if value is None else format(value, spec)

        computed = f"{self.integer}/{self.weighted}" if self.weighted else ""
        return {
            "candidate": self.name,
            "MB": text(self.size / 1e6 if self.size else None, ".2f"),
            "ms": text(median(self.latency), ".2f"),
            "p95": text(p95(self.latency), ".2f"),
            "ms, 1 thread": text(median(self.latency_1), ".2f"),
            "p95, 1 thread": text(p95(self.latency_1), ".2f"),
            "images/s": text(self.throughput, ".0f"),
            "memory MB": text(self.memory and self.memory / 1e6, ".0f"),
            "mAP50": text(self.map50, ".3f"),
            "mAP50-95": text(self.map, ".3f"),
            "same boxes": text(self.agreement, ".1%"),
            "int8 weights": text(self.stored, ".1%"),
            "Q nodes": text(self.nodes, "d"),
            "int8 layers run": computed,
            "problem": self.problem,
        }

    def facts(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "name": self.name,
            "runtime": self.candidate.runtime,
            "precision": self.candidate.precision,
            "recipe": dict(self.candidate.build_options),  # the name in cards of format 1
            "options": dict(self.candidate.options),
            "bytes": self.size,
            "latency_ms": median(self.latency),
            "latency_p95_ms": p95(self.latency),
            "latency_1_thread_ms": median(self.latency_1),
            "latency_1_thread_p95_ms": p95(self.latency_1),
            "images_per_second": self.throughput,
            "peak_memory_bytes": self.memory,
            "map50": self.map50,
            "map50_95": self.map,
            "agreement": self.agreement,
            "int8_weights": self.stored,
            "quantize_nodes": self.nodes,
            "int8_layers_run": self.integer,
            "layers_with_weights": self.weighted,
            "build_seconds": round(self.seconds, 1),
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Choice:
    """What there is to choose from on this machine, and what to take.

    Attributes:
        rows: one for each candidate, measured or with its problem.
        chosen: what to deploy; None if no candidate is accurate enough and complete.
        reference: the network in fp32, whose mAP50-95 the drop is counted from.
        target: "latency" or "size": what should be small.
        max_drop: of mAP50-95, absolute.
        threads: how many "all threads" were.
        machine: the processor and versions, by name.
        about: what was searched: weights, data, calibration, image size, seconds, as JSON.
        coverage: how the calibrated ranges fit the validation images; None without int8.
        notes: warnings: too few images, another domain, mixed precision.
        verdict: what to do on this machine, in words, a sentence a line.
        folder: of the candidates' files; it is deleted when the choice is no longer used.
    """

    rows: tuple[Measured, ...]
    chosen: Measured | None
    reference: Measured | None
    target: str
    max_drop: float
    threads: int
    machine: dict[str, str]
    about: dict[str, Any]
    coverage: RangeCoverage | None = None
    notes: tuple[str, ...] = ()
    verdict: str = ""
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    def __getitem__(self, name: str) -> Measured:
        for row in self.rows:
            if row.name == name:
                return row
        from labkit.core.errors import unknown

        raise LabError(unknown("candidate", name, [row.name for row in self.rows]))

    def table(self) -> Table:
        """All rows, the fastest first, those without figures last."""
        from labkit.core.table import Table

        timed = [row for row in self.rows if row.latency]
        others = [row for row in self.rows if not row.latency]
        timed.sort(key=lambda row: row.latency.median if row.latency else 0.0)
        return Table(row.row() for row in (*timed, *others))

    def pareto(self) -> list[Measured]:
        """Rows that no other row beats: see `pareto`."""
        return pareto(self.rows)

    def picture(self) -> dict[str, Any]:
        """What `labkit.figures.pareto` draws: `figures.pareto(**choice.picture())`."""
        front = {row.name for row in self.pareto()}
        rows = [
            {
                "name": row.name,
                "runtime": row.candidate.runtime,
                "precision": row.candidate.precision,
                "ms": row.latency.median,
                "map": row.map,
                "mb": row.size / 1e6,
                "front": row.name in front,
            }
            for row in self.rows
            if row.complete and row.latency
        ]
        reference = self.reference.map if self.reference else None
        return {
            "rows": rows,
            "chosen": self.chosen.name if self.chosen else "",
            "floor": None if reference is None else reference - self.max_drop,
            "threads": self.threads,
        }


def median(latency: Latency | None) -> float | None:
    """Milliseconds, if it was timed."""
    return latency.median if latency else None


def p95(latency: Latency | None) -> float | None:
    """Milliseconds, if it was timed."""
    return latency.p95 if latency else None


def pareto(rows: Sequence[Measured]) -> list[Measured]:
    """Rows that no other row dominates: as good in latency, size and mAP50-95, better in one.

    Args:
        rows: incomplete ones are left out.

    Returns:
        The front, the fastest first.
    """
    complete = [row for row in rows if row.complete]
    front = [row for row in complete if not any(_beats(other, row) for other in complete)]
    return sorted(front, key=lambda row: row.latency.median if row.latency else 0.0)


def _beats(a: Measured, b: Measured) -> bool:
    mine, theirs = _figures(a), _figures(b)
    return mine != theirs and all(x <= y for x, y in zip(mine, theirs, strict=True))


def _figures(row: Measured) -> tuple[float, float, float]:
    """Latency, size and lost mAP: less is better."""
    assert row.latency is not None
    assert row.map is not None
    return row.latency.median, row.size, -row.map


def choose(
    rows: Sequence[Measured], reference: Measured | None, target: str, max_drop: float
) -> Measured | None:
    """The fastest or smallest file that is accurate enough.

    Figures within `NOISE` of each other count as equal. Of files that are equally fast the
    smallest is taken (of equally small ones the fastest), and of files that are equal in both
    the most accurate. PyTorch's own rows are not eligible: they need the code of the network
    beside the weights.

    Args:
        rows: of all candidates.
        reference: the row whose mAP50-95 the drop is counted from.
        target: "latency" or "size".
        max_drop: of mAP50-95, absolute.
    """
    if reference is None or reference.map is None:
        return None  # nothing to count a drop from
    floor = reference.map - max_drop
    accurate = [
        row
        for row in rows
        if row.complete and row.candidate.deploys and row.map is not None and row.map >= floor
    ]
    if not accurate:
        return None

    first, second = (0, 1) if target == "latency" else (1, 0)
    near = _nearly_least(_nearly_least(accurate, first), second)
    return max(near, key=lambda row: (row.map or 0.0, -_figures(row)[first]))


def _nearly_least(rows: Sequence[Measured], which: int) -> list[Measured]:
    """Those whose figure is the least, or within `NOISE` of it."""
    least = min(_figures(row)[which] for row in rows)
    return [row for row in rows if _figures(row)[which] <= least * (1 + NOISE)]
