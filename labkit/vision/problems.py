"""What is wrong with a data set, collected so that all of it is reported at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: what goes by the same name is counted together ("class id without a name").
        where: the file.
        what: what was found, and what would be right.
        line: of the file, from 1.
    """

    kind: str
    where: str
    what: str
    line: int | None = None

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.where}{line}: {self.what}"


@dataclass
class Problems:
    """The first problems in full, and the number of all."""

    first: list[Problem] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, *problems: Problem) -> None:
        """Take note of some."""
        for problem in problems:
            self.kinds[problem.kind] += 1
            if len(self.first) < SHOWN:
                self.first.append(problem)

    def __len__(self) -> int:
        return self.kinds.total()

    def __str__(self) -> str:
        lines = [f"  {problem}" for problem in self.first]
        hidden = self.kinds - Counter(problem.kind for problem in self.first)
        if hidden:
            kinds = ", ".join(f"{count} × {kind}" for kind, count in hidden.most_common())
            lines.append(f"  … and {hidden.total()} more: {kinds}")
        return "\n".join(lines)
