"""Runs of notebooks leave nothing in anybody's home."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def runs_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fine-tuning runs go to a folder of the test."""
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
