"""Numbers as people read them: durations, sizes in bytes, and numbers in a sentence."""

from __future__ import annotations

import re
from typing import Final

import humanize

UNITS: Final = (  # humanize's words, and the symbols that fit a table
    (r" days?", " d"),
    (r" hours?", " h"),
    (r" minutes?", " min"),
    (r" seconds?", " s"),
    (r" Bytes?", " B"),
    (r",| and", ""),
)
MINUTE, HOUR, DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """A measured time: `0.25 s`, `50 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{round(seconds, 2):.2g} s"
    return _in_units(seconds, 1 if seconds < HOUR else MINUTE if seconds < DAY else HOUR)


def rough_duration(seconds: float) -> str:
    """A time that is expected, no finer than it can be known: `40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 1.5 * MINUTE:
        return f"{max(1, round(seconds)) if seconds < 20 else round(seconds / 10) * 10} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes < 90 else _in_units(seconds, MINUTE)


def file_size(count: float) -> str:
    """Bytes by powers of 1000, as disks and file managers count: `999 B`, `5.49 MB`."""
    return _short(humanize.naturalsize(count, format="%.2f"))


def memory_size(count: float) -> str:
    """Bytes by powers of 1024, as memory is counted: `512 MiB`, `1.5 GiB`."""
    return _short(humanize.naturalsize(count, binary=True, format="%.1f")).replace(".0 ", " ")


def number(value: float, digits: int = 3) -> str:
    """A number with few digits: 4,690 and 0.00154, but 1.2e-05."""
    if 1000 <= abs(value) < 1e6:
        return f"{float(f'{value:.{digits}g}'):,.0f}"
    return f"{value:.{digits}g}"


def _in_units(seconds: float, finest: int) -> str:
    """Days, hours, minutes and seconds; nothing finer than `finest`, in seconds."""
    rounded = round(seconds / finest) * finest
    return _short(humanize.precisedelta(rounded, suppress=["months", "years"], format="%d"))


def _short(text: str) -> str:
    for words, symbol in UNITS:
        text = re.sub(words, symbol, text)
    return text
