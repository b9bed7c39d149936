"""Times and sizes as users write them: `90`, `5m`, `4GB`."""

from __future__ import annotations

import math
import re

from labkit.core.errors import LabError

SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `1.5h` or `1h30m` in seconds.

    Raises:
        LabError: not a time, or not one above 0.
    """
    total = _sum(re.sub(r"\s", "", text.lower()))
    if not 0 < total < math.inf:
        raise LabError(f"{text!r} is not a time: write 90, 90s, 5m, 1.5h or 1h30m")
    return total


def _sum(text: str) -> float:
    """The sum of all parts of a time; 0 where the text is not made of such parts."""
    if not re.fullmatch(r"([0-9.]+[a-z]*)+", text):
        return 0
    try:
        parts = re.findall(r"([0-9.]+)([a-z]*)", text)
        return sum(float(number) * SECONDS[unit] for number, unit in parts)
    except (ValueError, KeyError):
        return 0


def size(text: str) -> int:
    """`4GB` (powers of 1000), `512MiB` (of 1024) or `1000` in bytes.

    Units are those of pydantic's `ByteSize`, and `Ki`, `Mi`, `Gi`, `Ti` as Kubernetes writes.

    Raises:
        LabError: not a size, or not one above 0.
    """
    from pydantic import ByteSize, TypeAdapter  # late: `labkit --help` starts without it

    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\.?\s*([a-z]*)", text.strip().lower())
    try:
        number, unit = found.groups() if found else ("", "")
        unit += "b" if re.fullmatch("[kmgt]i", unit) else ""
        count = int(TypeAdapter(ByteSize).validate_python(f"{number}{unit}"))
    except (ValueError, OverflowError):
        count = 0
    if not 1 <= count < 2**63:
        raise LabError(f"{text!r} is not a size: write 4GB, 512MiB or a number of bytes")
    return count
