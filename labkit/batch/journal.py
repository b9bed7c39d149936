"""What happens in a run, line by line: it outlives the process that writes it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


class Journal:
    """One JSON object a line, each with its time, written at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, **event: Any) -> None:
        """Add a line."""
        self._file.write(json.dumps({**event, "at": time.time()}).encode() + b"\n")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(True) if line[-1:] == b"\n"]
