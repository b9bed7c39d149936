"""Choose the tests of what has changed, few enough for two minutes, and run them.

`python -m tests.quick [BASE]` compares the working tree with BASE (a commit; by default where the
branch left origin/main, or the last commit but one) and runs, nearest first: the tests that have
changed, the tests of the modules that have changed, and the tests of modules that import those,
directly or by a detour. How long each file of tests takes is known from earlier runs
(`tests/conftest.py`). What is left out is printed; the browser's and the notebooks' tests always
are. `make test` runs everything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
KNOWN = ROOT / ".pytest_cache" / "v" / "labkit" / "files"  # how many tests, for how many seconds
BUDGET = 150.0  # seconds on two cores, of which starting takes some
UNKNOWN = 10.0  # seconds of a file that was never run here
NEVER = ("tests/browser/", "tests/notebooks/")
TEXTS = {  # what else is tested, by the end of its name
    ".ipynb": "tests/test_notebooks_hygiene.py",
    ".md": "tests/test_readme.py",
    ".pyi": "tests/test_api.py",
    ".toml": "tests/test_packaging.py",
    ".txt": "tests/test_packaging.py",
    "Makefile": "tests/test_packaging.py",
    "__init__.py": "tests/test_api.py",
}


class Choice(NamedTuple):
    """Files of tests: those to run, nearest to the change first, and those that did not fit."""

    chosen: list[str]
    left_out: list[str]


def mirror(path: str) -> str:
    """The tests of a file of the package: `labkit/a/b.py` has `tests/a/test_b.py`."""
    parts = PurePosixPath(path)
    folder = PurePosixPath("tests", *parts.parts[1:-1])
    return str(folder / f"test_{parts.stem}.py")


def module(path: str) -> str:
    """`labkit/a/b.py` is `labkit.a.b`, and `labkit/a/__init__.py` is `labkit.a`."""
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def choose(
    changed: Iterable[str],
    importers: Callable[[str], Iterable[str]],
    tests: Collection[str],
    seconds: Mapping[str, float],
    budget: float = BUDGET,
) -> Choice:
    """Choose files of tests for files that have changed.

    Args:
        changed: paths from the repository's root.
        importers: the modules that import a module directly.
        tests: every file of tests.
        seconds: how long each takes; `UNKNOWN` where it is not there.
        budget: seconds for all of them. The first one is chosen whatever it takes.
    """
    wanted: dict[str, None] = {}  # in the order of their distance
    layer: list[str] = []
    paths = sorted(changed)
    for path in paths:
        if path.startswith("tests/"):
            wanted[path] = None
        elif path.startswith("labkit/"):
            wanted[mirror(path)] = None
            if path.endswith(".py"):
                layer.append(module(path))
    wanted |= {TEXTS[end]: None for end in TEXTS if any(path.endswith(end) for path in paths)}
    reached = set(layer)
    while layer:
        layer = sorted({user for one in layer for user in importers(one)} - reached)
        reached |= set(layer)
        wanted |= {mirror(f"{one.replace('.', '/')}.py"): None for one in layer}

    chosen: list[str] = []
    left_out: list[str] = []
    spent = 0.0
    for test in wanted:
        if test not in tests:
            continue
        spent += seconds.get(test, UNKNOWN)
        fits = not test.startswith(NEVER) and (spent <= budget or not chosen)
        (chosen if fits else left_out).append(test)
    return Choice(chosen, left_out)


def changed_since(base: str | None) -> list[str]:
    """Files that differ from a commit, those that git does not know yet among them."""
    if base is None:
        left = _git("merge-base", "HEAD", "origin/main")
        base = left[0] if left and left != _git("rev-parse", "HEAD") else "HEAD~1"
    return _git("diff", "--name-only", base) + _git("ls-files", "--others", "--exclude-standard")


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()


def main(base: str | None = None) -> int:
    """Choose, say what was chosen, and run it."""
    import grimp

    graph = grimp.build_graph("labkit", cache_dir=None)
    changed = changed_since(base)
    known = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}
    choice = choose(
        changed,
        lambda name: graph.find_modules_that_directly_import(name) if name in graph.modules else (),
        {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/test_*.py")},
        {file: seconds for file, (_, seconds) in known.items()},
    )
    print(f"{len(changed)} files have changed. Files of tests that are run: {len(choice.chosen)}")
    print(*choice.chosen, sep="\n")
    print(f"Left to `make test`: {len(choice.left_out)} files that a detour leads to, and all that")
    print("need a browser or run notebooks", flush=True)
    print(*choice.left_out, flush=True)
    if not choice.chosen:
        return 0
    workers = ["-n", "2"] if len(choice.chosen) > 1 else []
    command = [sys.executable, "-m", "pytest", "-q", *workers, *choice.chosen]
    env = {"YOLO_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
