"""HTML for the words on a panel: alerts, remarks, status lines."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from labkit.core.errors import LabError

RED = "var(--jp-error-color1,#b00)"


def alert(text: str) -> str:
    """What went wrong, read aloud at once; empty where nothing did."""
    if not text:
        return ""
    return f"<div role='alert' style='color:{RED};line-height:1.3'>{_lines(text)}</div>"


def sentences(texts: Iterable[str]) -> str:
    """Sentences below each other."""
    return f"<div style='line-height:1.4'>{'<br>'.join(map(html.escape, texts))}</div>"


def problem(error: BaseException) -> str:
    """An error in words: a `LabError` explains itself, any other is named."""
    return str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"


def write(widget: Any, value: str) -> None:
    """Set a widget's HTML; the same again costs no message to the page."""
    if widget.value != value:
        widget.value = value


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
