"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from labkit.core.registry import Registry
from labkit.core.telemetry import no_telemetry

no_telemetry()  # tests use the runtimes themselves as well

# The same examples every time, and no limit of time for one: machines are busy.
settings.register_profile("labkit", deadline=None, derandomize=True)
settings.load_profile("labkit")

_tests: Counter[str] = Counter()  # that ran, of each file
_seconds: Counter[str] = Counter()  # set-up included


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up how long files of tests take, with or without pytest-xdist."""
    file = report.nodeid.partition("::")[0]
    _tests[file] += report.when == "call"
    _seconds[file] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep it where `make quick` finds it: of each file, how many tests ran and for how long."""
    if session.config.cache and not hasattr(session.config, "workerinput"):
        known = session.config.cache.get("labkit/files", {})
        for file, tests in _tests.items():
            if tests >= known.get(file, (0,))[0]:  # one test says little about its file
                known[file] = tests, round(_seconds[file], 1)
        session.config.cache.set("labkit/files", known)


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
