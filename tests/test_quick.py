"""`make quick` chooses the tests that are nearest to a change, within its time."""

from __future__ import annotations

import pytest

from tests.quick import ROOT, Choice, choose, mirror, module

# c imports b, b imports a; d stands alone.
IMPORTERS = {"labkit.x.a": {"labkit.x.b"}, "labkit.x.b": {"labkit.y.c"}}
TESTS = {
    "tests/browser/test_page.py",
    "tests/notebooks/test_notebooks.py",
    "tests/test_api.py",
    "tests/test_readme.py",
    "tests/x/test_a.py",
    "tests/x/test_b.py",
    "tests/y/test_c.py",
    "tests/y/test_d.py",
}
A, B, C = "tests/x/test_a.py", "tests/x/test_b.py", "tests/y/test_c.py"


def choice(*changed: str, seconds: float = 1.0, budget: float = 100.0) -> Choice:
    times = dict.fromkeys(TESTS, seconds)
    return choose(changed, lambda name: IMPORTERS.get(name, ()), TESTS, times, budget)


@pytest.mark.parametrize(
    ("path", "test", "name"),
    [
        ("labkit/cli.py", "tests/test_cli.py", "labkit.cli"),
        ("labkit/a/b/c.py", "tests/a/b/test_c.py", "labkit.a.b.c"),
        ("labkit/a/__init__.py", "tests/a/test___init__.py", "labkit.a"),
    ],
)
def test_names(path: str, test: str, name: str):
    assert (mirror(path), module(path)) == (test, name)


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ("labkit/x/a.py", [A, B, C]),
        ("labkit/x/b.py", [B, C]),
        ("labkit/y/d.py", ["tests/y/test_d.py"]),
        ("labkit/x/untested.py", []),
        ("labkit/x/a.js", [A]),
        ("labkit/x/__init__.py", ["tests/test_api.py"]),
        (B, [B]),
        ("README.md", ["tests/test_readme.py"]),
        ("docs/images/picture.png", []),
    ],
)
def test_nearest_tests_come_first(changed: str, chosen: list[str]):
    assert choice(changed) == (chosen, [])


def test_tests_of_several_changes_come_once():
    assert choice("labkit/x/a.py", "labkit/x/b.py", A).chosen == [A, B, C]


def test_what_does_not_fit_is_named():
    assert choice("labkit/x/a.py", budget=2.5) == ([A, B], [C])
    assert choice("labkit/x/a.py", budget=0.5) == ([A], [B, C])


@pytest.mark.parametrize(
    "path", ["tests/browser/test_page.py", "tests/notebooks/test_notebooks.py"]
)
def test_browser_and_notebooks_are_left_out(path: str):
    assert choice(path, A) == ([A], [path])


def test_circle_of_imports_ends():
    importers = {"labkit.x.a": {"labkit.x.b"}, "labkit.x.b": {"labkit.x.a"}}
    found = choose(["labkit/x/a.py"], lambda name: importers[name], TESTS, {})
    assert found.chosen == [A, B]


def test_tests_that_are_named_by_kind_of_file_exist():
    from tests.quick import TEXTS

    assert all((ROOT / test).is_file() for test in TEXTS.values())
