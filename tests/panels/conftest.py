"""Panels without a page: what they would paint, and their words as one reads them."""

from __future__ import annotations

import pytest

from labkit.panels import live_figure, painter


@pytest.fixture
def shown(monkeypatch):
    """The newest spec of every figure."""
    specs: dict[object, dict] = {}
    for module in (live_figure, painter):
        monkeypatch.setattr(module, "show_together", specs.update)
    return specs
