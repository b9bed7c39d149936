"""Times and sizes as people write them: `90`, `5m`, `4GB`."""

from __future__ import annotations

import math
import re

from labkit.core.errors import LabError

SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
BYTES = {"": 1, "b": 1} | {
    f"{letter}{ending}": base ** (i + 1)
    for i, letter in enumerate("kmgt")
    for ending, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `1.5h` or `1h30m` in seconds.

    Raises:
        LabError: no time, or none above 0.
    """
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)\s*", text.strip().lower())
    found = _sum(text, parts, SECONDS)
    if not found:
        raise LabError(f"{text!r} is no time: write 90, 90s, 5m, 1.5h or 1h30m")
    return found


def size(text: str) -> int:
    """`4GB` (powers of 1000), `512MiB` (of 1024) or `1000` in bytes.

    Raises:
        LabError: no size, or none above 0.
    """
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)\s*", text.strip().lower())
    found = _sum(text, parts[:1], BYTES)
    if not found or found < 1:
        raise LabError(f"{text!r} is no size: write 4GB, 512MiB or a number of bytes")
    return round(found)


def _sum(text: str, parts: list[tuple[str, str]], units: dict[str, int]) -> float | None:
    """The parts' sum; None where they are not the whole text, or make no number."""
    whole = "".join(number + unit for number, unit in parts)
    if not parts or whole != re.sub(r"\s", "", text.lower()):
        return None
    try:
        total = sum(float(number) * units[unit] for number, unit in parts)
    except (ValueError, KeyError):
        return None
    return total if 0 < total < math.inf else None
