"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from labkit.core.registry import Registry
from labkit.core.telemetry import no_telemetry

no_telemetry()  # tests use the runtimes themselves as well


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors gain nothing by more, and workers that fight for cores lose much."""
    torch.set_num_threads(1)


@pytest.fixture
def enter() -> Iterator[Callable[..., Any]]:
    """Register an entry for one test only: `enter(INITS, "name", …)(function)`."""
    entered: list[tuple[Registry, str]] = []

    def register(registry: Registry, name: str, **traits: Any) -> Callable[..., Any]:
        entered.append((registry, name))
        return registry.register(name, **traits)

    yield register
    for registry, name in entered:
        if name in registry:
            registry.unregister(name)


@pytest.fixture
def global_rng_untouched() -> Iterator[None]:
    """Fail a test that draws from torch's global generator, or seeds it."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state()), "torch's global generator was used"
