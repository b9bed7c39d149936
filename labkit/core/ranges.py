"""Values as people write them: `0.1, 0.2`, and ranges such as `1e-3:1e-1:log:5`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from labkit.core.errors import LabError

DIGITS: Final = 6  # of a range's values, which stand in names and tables
MOST: Final = 10_000  # values of one range
RANGE: Final = re.compile(r"([^:,;]+):([^:,;]+):\s*(log|lin)\s*:([^:,;]+)")
IN_WORDS: Final = re.compile(r"\s*(\S+)\s+to\s+(\S+)\s+in\s+(\d+)\s*")


@dataclass(frozen=True)
class Range:
    """`count` numbers from `start` to `stop`, by equal factors ("log") or evenly ("lin")."""

    start: float
    stop: float
    scale: Literal["log", "lin"]
    count: int

    @classmethod
    def of(cls, start: Any, stop: Any, scale: Literal["log", "lin"], count: Any) -> Range:
        """A range whose ends and count may be text.

        Raises:
            LabError: ends that are no numbers, a count below 1, or a logarithm of 0.
        """
        try:
            first, last = float(start), float(stop)
        except (TypeError, ValueError, OverflowError):
            raise LabError("both ends of a range are numbers") from None
        try:
            steps = int(count) if type(count) is not bool else 0
        except (TypeError, ValueError, OverflowError):
            steps = 0
        if not (math.isfinite(first) and math.isfinite(last)):
            raise LabError("both ends of a range are finite")
        if steps < 1 or str(steps) != str(count).strip():
            raise LabError("a range has a whole number of values, 1 or more")
        if scale == "log" and min(first, last) <= 0:
            raise LabError("a logarithmic range lies above 0")
        return cls(first, last, scale, steps)

    @classmethod
    def read(cls, text: str) -> Range | None:
        """`1e-3:1e-1:log:5` or `0:1:lin:5`; None for a text of another form.

        Raises:
            LabError: it has the form, but makes no sense.
        """
        found = RANGE.fullmatch(text.strip())
        if not found:
            return None
        start, stop, scale, count = found.groups()
        return cls.of(start, stop, "log" if scale == "log" else "lin", count)

    def __str__(self) -> str:
        return f"{self.start:g}:{self.stop:g}:{self.scale}:{self.count}"

    def numbers(self, digits: int = DIGITS) -> list[float]:
        """The numbers, rounded to `digits` where that keeps them apart; the ends are exact."""
        last = self.count - 1
        if last == 0:
            return [self.start]
        if self.scale == "log":
            low, high = math.log(self.start), math.log(self.stop)
            exact = [math.exp(low + (high - low) * i / last) for i in range(self.count)]
        else:  # two products: the difference of the ends may be more than a float holds
            exact = [self.start * (1 - i / last) + self.stop * (i / last) for i in range(last + 1)]
        short = [float(f"{number:.{digits}g}") for number in exact]
        inner = short if len(set(short)) == len(set(exact)) else exact
        return [self.start, *inner[1:-1], self.stop]

    def whole_numbers(self) -> list[int]:
        """The numbers rounded to whole ones, each once."""
        return list(dict.fromkeys(round(number) for number in self.numbers(digits=17)))


def read_numbers(name: str, text: str, *, digits: int = DIGITS, most: int = MOST) -> list[float]:
    """Numbers with commas between them, ranges among them: `0.1, 0.2` or `1e-3:1e-1:log:5`.

    Args:
        name: what they are values of, for messages.
        text: what was typed; semicolons and spaces separate numbers as well.
        digits: of a range's inner numbers.
        most: how many numbers one range may have.

    Raises:
        LabError: what cannot be read, in one line that shows what can.
    """
    if found := IN_WORDS.fullmatch(text):
        start, stop, count = found.groups()
        raise LabError(f"{name} {text.strip()!r} is not allowed: write {start}:{stop}:log:{count}")
    numbers: list[float] = []
    for part in re.split(r"[,;\s]+", re.sub(r"\s*:\s*", ":", text.strip())):
        if not part:
            continue
        try:
            values = Range.read(part)
        except LabError as error:
            raise LabError(f"{name} {part} is not allowed: {error}") from None
        if values is not None and values.count > most:
            raise LabError(f"{name} {part} is not allowed: a range has at most {most:,} values")
        try:
            numbers += values.numbers(digits) if values is not None else [_finite(part)]
        except ValueError:
            raise LabError(
                f"{name} {part!r} is not allowed: write numbers such as 0.001, 0.01, "
                "or a range such as 1e-3:1e-1:log:5"
            ) from None
    if not numbers:
        raise LabError(f"{name} has no values: write numbers such as 0.001, 0.01")
    return numbers


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
