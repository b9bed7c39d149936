"""Write the versions of this environment as a constraints file, and say which ones are new.

`python -m tests.latest FILE` is run by `make latest`. When its tests pass, the file can take the
place of constraints.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.test_packaging import CONSTRAINTS, FOLLOW, closure, pinned


def main(file: Path) -> None:
    """Pin all that is needed, in the format of constraints.txt."""
    here = {name: str(version) for name, version in closure().items() if not FOLLOW.match(name)}
    before = {name: str(version) for name, version in pinned().items()}
    comments = [line for line in CONSTRAINTS.splitlines() if line.startswith("#")]
    pins = sorted(f"{name}=={version}" for name, version in here.items())
    file.write_text("\n".join([*comments, *pins]) + "\n", encoding="utf-8")
    new = [name for name in sorted(here) if before.get(name) != here[name]]
    print(f"{file}: {len(here)} packages, {len(new)} of them at another version than pinned")
    for name in new:
        print(f"  {name} {before.get(name, '(new)')} -> {here[name]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
