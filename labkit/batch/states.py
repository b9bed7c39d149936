"""The states of a run, and the status file that says which one it is in."""

from __future__ import annotations

import json
from typing import Any, Final

STATES: Final = ("queued", "running", "done", "failed", "timed out", "killed")
ENDED: Final = ("done", "failed", "timed out", "killed")
STATUS: Final = "status.json"


def read_status(data: bytes | None, id: str) -> tuple[dict[str, Any] | None, str | None]:
    """A run's status file: the status, and what is wrong where it cannot be believed."""
    if data is None:
        return None, None
    try:
        status = json.loads(data)
        if status["id"] != id:
            return None, f"is of another run, {status['id']}"
        if status["state"] not in STATES:
            return None, f"has the unknown state {status['state']!r}"
        if (str, int) != (type(status["driver"]["token"]), type(status["driver"]["claim"])):
            return None, "names no driver"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "is not a status: cut short, or written by something else"
    return status, None
