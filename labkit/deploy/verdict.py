"""The verdict: what a search means for this machine, in words; every sentence has its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labkit.core.formatting import file_size

if TYPE_CHECKING:
    from labkit.deploy.choice import Choice, Measured

WORTH_IT = 1.1  # int8 is worth its trouble if it is faster than float by a tenth


def verdict(choice: Choice) -> str:
    """What to do on this machine, a sentence a line; `choice.verdict` is not read."""
    return "\n".join(_sentences(choice))


def _sentences(choice: Choice) -> Iterator[str]:
    floating = best_float(choice)
    yield from _chosen(choice, floating)
    yield from _int8(choice, floating)
    yield from _int8_in_name_only(choice)
    if choice.coverage is not None:
        words = choice.coverage.words()
        yield words[0].upper() + words[1:] + "."
    yield from choice.notes
    problems = [row for row in choice.rows if row.problem]
    if problems:
        yield f"{len(problems)} of {len(choice.rows)} candidates have problems: see the table."


def best_float(choice: Choice) -> Measured | None:
    """The fastest candidate in fp32; one that can be deployed, if there is any."""
    plain = [row for row in choice.rows if row.complete and row.candidate.precision == "fp32"]
    deploy = [row for row in plain if row.candidate.deploys]
    return min(deploy or plain, key=_ms, default=None)


def _chosen(choice: Choice, floating: Measured | None) -> Iterator[str]:
    row = choice.chosen
    if row is None:
        yield (
            f"Nothing can be deployed: no candidate keeps mAP50-95 within {choice.max_drop:g} of "
            "the network in fp32."
        )
        return
    what = "fastest" if choice.target == "latency" else "smallest"
    yield (
        f"Take {row.name}: the {what} here that keeps mAP50-95 within {choice.max_drop:g} "
        f"({_ms(row):.2f} ms with {_threads(choice)}, {file_size(row.size)}, "
        f"mAP50-95 {row.map:.3f}{_against(choice)})."
    )
    if floating is not None and floating is not row:
        yield (
            f"It is {_ms(floating) / _ms(row):.2f} times as fast as the best fp32 runtime, "
            f"{floating.name} ({_ms(floating):.2f} ms), and {row.size / floating.size:.2f} of its "
            "size."
        )


def _against(choice: Choice) -> str:
    reference = choice.reference
    if reference is None or reference.map is None:
        return ""
    return f"; {reference.map:.3f} in {reference.name}"


def _int8(choice: Choice, floating: Measured | None) -> Iterator[str]:
    """Whether int8 is worth it here, and how much its settings matter."""
    whole = [
        row for row in choice.rows if row.complete and row.candidate.precision in ("int8", "mixed")
    ]
    if not whole or floating is None:
        return
    floor = (choice.reference or floating).map
    accurate = [
        row
        for row in whole
        if row.map is not None and floor is not None and row.map >= floor - choice.max_drop
    ]
    best, worst = min(whole, key=_ms), max(whole, key=_ms)
    if not accurate:
        yield f"int8 is not worth it here: no candidate keeps mAP50-95 within {choice.max_drop:g}."
    else:
        fastest = min(accurate, key=_ms)
        gain = _ms(floating) / _ms(fastest)
        if gain < WORTH_IT:
            small = min(accurate, key=lambda row: row.size)
            yield (
                f"int8 is not worth it here for speed: the fastest, {fastest.name}, is "
                f"{gain:.2f} times as fast as {floating.name}. It does save size: "
                f"{file_size(small.size)} instead of {file_size(floating.size)}."
            )
        else:
            yield f"int8 is worth it here: {gain:.2f} times as fast as fp32 with {fastest.name}."
    if len(whole) > 1:
        slower = _ms(worst) > _ms(floating)
        yield (
            f"The settings matter: int8 takes {_ms(best):.2f} ms ({best.name}) to "
            f"{_ms(worst):.2f} ms ({worst.name}" + (", slower than fp32)." if slower else ").")
        )
    lower = [row for row in choice.rows if row.complete and row.candidate.precision == "bf16"]
    if lower and accurate:
        quick = min(lower, key=_ms)
        yield (
            f"bfloat16 needs no calibration: {quick.name} takes {_ms(quick):.2f} ms "
            f"(mAP50-95 {quick.map:.3f})."
        )


def _int8_in_name_only(choice: Choice) -> Iterator[str]:
    """Files that store int8, and that the runtime computes in float."""
    for row in choice.rows:
        stored, computed = row.stored or 0.0, row.integer
        if stored > 0.5 and row.weighted and computed is not None and 2 * computed < row.weighted:
            yield (
                f"{row.name} is int8 only in its file: the runtime computes "
                f"{row.weighted - computed} of {row.weighted} layers in float."
            )


def _threads(choice: Choice) -> str:
    return "1 thread" if choice.threads == 1 else f"{choice.threads} threads"


def _ms(row: Measured) -> float:
    assert row.latency is not None
    return row.latency.median
