"""Batches as text: what is planned, how far a batch is, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import mean
from typing import Any

from labkit.batch.job import Job
from labkit.batch.schedule import Again
from labkit.core.formatting import duration
from labkit.core.table import Table

MOST = 20  # failures that are shown one by one
Status = Mapping[str, Any]


def planned(
    jobs: Sequence[Job], statuses: Iterable[Status], at_once: int, again: Again = "unfinished"
) -> str:
    """The runs that would be made, and how long they would take.

    Args:
        jobs: all that are requested.
        statuses: of earlier runs, from the same folder.
        at_once: how many runs at once.
        again: which runs that have ended would be made again, as in `run_batch`.
    """
    earlier = {status["id"]: status for status in statuses}
    ended = {"unfinished": ("done", "failed"), "failed": ("done",), "all": ()}[again]
    rows, open_ = [], []
    for job in jobs:
        state = earlier.get(job.id, {}).get("state", "new")
        if state not in ended:
            open_.append(job)
        given = {name: value for name, value in job.parameters.items() if name != "interactive"}
        rows.append({"run": job.id, "state": state, **given})
    count = f"{len(jobs):,} run{'s' * (len(jobs) != 1)}"
    if len(open_) < len(jobs):
        count += f", {len(open_):,} of them to do"
    return f"{Table(rows)!r}\n\n{count}. {_estimate(open_, earlier.values(), at_once)}"


def _estimate(jobs: Sequence[Job], statuses: Iterable[Status], at_once: int) -> str:
    if not jobs:
        return "Nothing is left to run."
    taken: dict[str, list[float]] = {}
    for status in statuses:
        if status["state"] == "done":
            taken.setdefault(status["notebook"], []).append(status["seconds"])
    unknown = sorted({job.name for job in jobs} - set(taken))
    if len(unknown) == len({job.name for job in jobs}):
        return "The time is not known: none of these notebooks has been run in this folder."
    each = {name: mean(seconds) for name, seconds in taken.items()}
    timed = [each[job.name] for job in jobs if job.name in each]
    total = max(sum(timed) / max(1, at_once), *timed)
    text = f"About {duration(total)}, {at_once} at once, by what earlier runs took"
    return f"{text}{''.join(f'; {name} is not among them' for name in unknown)}."


def status(statuses: Sequence[Status], now: datetime | None = None) -> str:
    """How far a batch is: counts, what runs where and for how long, what failed and why."""
    now = now or datetime.now(UTC)
    parts = [counts(statuses)]
    running = [s for s in statuses if s["state"] in ("running", "stale")]
    if running:
        rows = [
            {
                "run": run["id"],
                "state": run["state"],
                "host": run.get("host", ""),
                "pid": run.get("pid", ""),
                "for": duration(max(0.0, (now - _moment(run)).total_seconds())),
                "attempt": run.get("attempt", 1),
            }
            for run in running
        ]
        parts.append(repr(Table(rows)))
    failures = [s for s in statuses if s["state"] in ("failed", "timed out", "killed")]
    if failures:
        rows = [{"run": s["id"], "state": s["state"], "reason": reason(s)} for s in failures]
        parts.append(repr(Table(rows)))
    problems = [s["problem"] for s in statuses if s.get("problem")]
    return "\n\n".join([*parts, *problems])


def counts(statuses: Sequence[Status]) -> str:
    """`30 runs: 27 done, 3 failed`."""
    states = Counter(status["state"] for status in statuses)
    states_text = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    return f"{len(statuses):,} run{'s' * (len(statuses) != 1)}: {states_text}"


def failures(statuses: Sequence[Status], where: str) -> str | None:
    """Which runs are not done and why, the first ones in full; None where all are."""
    wrong = [status for status in statuses if status["state"] != "done"]
    if not wrong:
        return None
    lines = [f"{len(wrong):,} of {len(statuses):,} runs are not done:"]
    lines += [f"  {run['id']}  {reason(run)}" for run in wrong[:MOST]]
    if len(wrong) > MOST:
        lines.append(f"  … and {len(wrong) - MOST:,} more: labkit run --status {where}")
    return "\n".join(lines)


def reason(status: Status) -> str:
    """Why a run is not done, in one line."""
    failure = status.get("failure")
    return str(failure["reason"]) if failure else str(status["state"])


def _moment(status: Status) -> datetime:
    return datetime.fromisoformat(status["started"])
