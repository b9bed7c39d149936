"""Every module has its tests where a reader looks: `labkit/a/b.py` in `tests/a/test_b.py`."""

from __future__ import annotations

from pathlib import Path

from tests.quick import ROOT, mirror

NOT_TESTED = {"__init__.py", "_version.py"}  # names and a number: tests/test_api.py has them

# Tests of no single module, and what they are about.
OF_A_WHOLE_ROOM = {
    "tests/batch/test_driver_faults.py": "drivers that are killed while they work on one folder",
    "tests/batch/test_faults.py": "kernels and runners that die, hang and print without end",
    "tests/batch/test_injection.py": "parameters that would become code",
    "tests/deploy/test_command.py": "`labkit quantize`",
    "tests/figures/test_all_figures.py": "what holds of every figure",
    "tests/test_api.py": "the public names",
    "tests/test_docs.py": "the documentation site",
    "tests/test_mirror.py": "this",
    "tests/test_notebooks_hygiene.py": "the notebooks as they are committed",
    "tests/test_packaging.py": "what is declared, pinned and shipped",
    "tests/test_privates.py": "what labkit uses of other packages' internals",
    "tests/test_quick.py": "`make quick`",
    "tests/test_readme.py": "what README and CONTRIBUTING say",
    "tests/vision/test_api.py": "the public names of labkit.vision",
    "tests/weights/test_hostile.py": "files made to do harm",
}


def modules() -> list[str]:
    files = sorted((ROOT / "labkit").rglob("*.py"))
    return [str(f.relative_to(ROOT).as_posix()) for f in files if f.name not in NOT_TESTED]


def room(test: Path) -> Path:
    """The folder of the package that a folder of tests mirrors, where there is one."""
    return ROOT / "labkit" / test.parent.relative_to(ROOT / "tests")


def test_every_module_has_its_tests():
    missing = {path for path in modules() if not (ROOT / mirror(path)).is_file()}
    assert sorted(missing) == [], "write the tests that mirror these modules"


def test_every_file_of_tests_has_its_module():
    left = set()
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        folder, name = room(test), test.stem.removeprefix("test_")
        # A package as a whole: `sets/test_sets.py`, or `test_sets.py` beside it.
        known = (folder / f"{name}.py").exists() or (folder / name).is_dir() or folder.name == name
        if folder.is_dir() and not known:
            left.add(test.relative_to(ROOT).as_posix())
    assert left == OF_A_WHOLE_ROOM.keys(), "move or rename tests with their module"
