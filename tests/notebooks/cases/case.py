"""What a case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))

Results = dict[str, Any]


@dataclass
class Case:
    """One run: the notebook (by its first letters), parameters, figures, and what must hold."""

    notebook: str
    parameters: dict[str, Any]
    figures: int
    holds: Callable[[Results], None] = field(repr=False)

    def __str__(self) -> str:
        given = ",".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.notebook}-{given}" if given else self.notebook

    @property
    def path(self) -> Path:
        (path,) = [path for path in NOTEBOOKS if path.stem.startswith(self.notebook)]
        return path
